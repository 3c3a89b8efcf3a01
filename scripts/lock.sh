#!/usr/bin/env bash
# pyproject.toml -> requirements/base.txt and dev.txt: every package pinned, no index named.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(mktemp -d)
trap 'rm -r "$tools"' EXIT
.venv/bin/python -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check pip-tools==7.6.2

compile() {
    "$tools/bin/pip-compile" --quiet --no-header --strip-extras --allow-unsafe --no-annotate \
        --no-emit-index-url --no-emit-find-links --no-emit-options --build-deps-for=editable "$@" pyproject.toml
}
compile --extra embedded --output-file requirements/base.txt
compile --extra embedded --extra dev --constraint requirements/base.txt --output-file requirements/dev.txt
