#!/usr/bin/env bash
# A fresh Debian or Ubuntu -> the system packages and the .venv that `make demo`, `make test` or `make bench` need.
# May be run again at any time: only what is missing is installed, and it says what that is.
set -euo pipefail
cd "$(dirname "$0")/.."

tier=${1:-}
case $tier in
demo) lists=(demo) lock=base ;;
test) lists=(demo test) lock=dev ;;
bench) lists=(demo test bench) lock=dev ;;
*) echo "usage: scripts/setup.sh demo|test|bench" >&2 && exit 2 ;;
esac
exec 9<"$PWD/scripts/setup.sh"
flock 9 # two makes in one tree take turns

say() { printf 'setup: %s\n' "$*" >&2; }

is_usable() { # PYTHON: recent enough, and able to make a virtual environment
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local name
    for name in python3.11 python3.12 python3.13 python3; do
        if is_usable "$name"; then
            echo "$name"
            return
        fi
    done
    return 1
}

wanted_packages() {
    local list
    for list in "${lists[@]}"; do grep -v '^#' "requirements/apt-$list.txt"; done | sort -u
}

missing_packages() {
    local name installed
    installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p' | tr '\n' ' ')"
    wanted_packages | while read -r name; do
        case $installed in *" $name "*) continue ;; esac
        if [ "$name" = python3-venv ] && find_python >/dev/null; then continue; fi
        echo "$name"
    done
}

install_packages() { # NAME...: as root, without PostgreSQL's own start-up cluster: a setup must not leave a server running
    local log
    log=$(mktemp)
    # shellcheck disable=SC2024  # the log is ours, not root's
    if "${become_root[@]}" bash -s -- "$@" >"$log" 2>&1 9<&- <<'AS_ROOT'; then rm "$log"; else
set -euo pipefail
if [[ " $* " = *" postgresql "* ]]; then
    no_cluster=/etc/postgresql-common/createcluster.d/no-main-cluster-during-setup.conf
    mkdir -p "${no_cluster%/*}"
    trap 'rm -f "$no_cluster"' EXIT
    echo 'create_main_cluster = false' >"$no_cluster"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" </dev/null
AS_ROOT
        tail -n 20 "$log" >&2
        rm "$log"
        return 1
    fi
}

provide_packages() {
    local missing
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian or Ubuntu system; see that it has: $(wanted_packages | tr '\n' ' ')"
        return
    fi
    mapfile -t missing < <(missing_packages)
    [ "${#missing[@]}" -gt 0 ] || return 0
    become_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if sudo -n true 2>/dev/null; then
            become_root=(sudo -n)
        else
            say "packages are missing and this user may not install them; as root: apt-get install ${missing[*]}"
            [ "$tier" = demo ] # the demo can do without
            return
        fi
    fi
    say "installing ${#missing[@]} system packages: ${missing[*]}"
    install_packages "${missing[@]}"
}

provide_venv() {
    local python key
    if ! is_usable .venv/bin/python || ! grep -qF "$PWD/.venv/" .venv/bin/pip 2>/dev/null; then
        if ! python=$(find_python); then
            say "no Python from 3.11 with venv found; install python3-venv (Debian 12, Ubuntu 24.04 or newer)"
            return 1
        fi
        say "making .venv with $("$python" --version)"
        rm -rf .venv
        "$python" -m venv .venv
    fi
    key=$(cat "requirements/$lock.txt" pyproject.toml scripts/setup.sh | sha256sum | cut -d' ' -f1)
    [ "$(cat ".venv/.setup-$lock" 2>/dev/null)" != "$key" ] || return 0
    say "installing the Python packages of requirements/$lock.txt into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "requirements/$lock.txt"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    echo "$key" >".venv/.setup-$lock"
}

provide_packages
provide_venv
