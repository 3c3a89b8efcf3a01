#!/usr/bin/env bash
# The sample disc -> .demo/: ingested, its problems shown, its tree restored. Ends with 0 only if all went as planned.
set -euo pipefail
cd "$(dirname "$0")/.."

home=.demo
ntt() { # ALLOWED-STATUSES ARGUMENT...: shows the command, runs it, ends the demo on any other exit status
    local allowed=$1 status=0
    shift
    printf '\n$ ntt' >&2
    printf ' %q' "$@" >&2
    printf '\n' >&2
    .venv/bin/ntt "$@" || status=$?
    case " $allowed " in *" $status "*) return 0 ;; esac
    echo "demo: 'ntt $1' ended with $status, expected: ${allowed// / or }" >&2
    exit 1
}

if [ -d "$home" ]; then
    .venv/bin/ntt db stop --home "$home" >/dev/null 2>&1 || true # a server that a killed demo left
    rm -rf "$home"
fi

ntt 1 ingest --home "$home" samples/field-notes.iso --map samples/field-notes.map
hash=$(.venv/bin/ntt list --home "$home" --json |
    .venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["media"][0]["medium_hash"])')
ntt 1 problems --home "$home" "$hash"
ntt "0 1" restore --home "$home" "$hash" "$home/restored"

printf '\nRestored, with every name as it was (shown escaped):\n'
# shellcheck disable=SC2012  # ls -b escapes what find would send to the terminal
ls -1RbA "$home/restored" | sed -n '1,12p'
printf '  ... %s names in all, below %s\n' "$(find "$home/restored" -mindepth 1 -printf x | wc -c)" "$home/restored"
printf '\nThe store, readable without NTT (tar, b3sum):\n'
for pack in "$home"/store/packs/*.tar; do
    printf '  %s holds %s contents, the first is %s\n' "$pack" "$(tar -tf "$pack" | wc -l)" "$(tar -tf "$pack" | sed -n 1p)"
done
cat <<'EOT'

The sample disc has two unreadable areas on purpose: one file, recordings/gauge-upper-weir.csv, is damaged, and free space
that belongs to no file is hit, which is harmless. Everything else was stored and proven. That is why ntt ended with 1.
EOT
