# Each target installs what it needs first (scripts/setup.sh), which takes a moment when all is there.
.DEFAULT_GOAL := help
.PHONY: help setup setup-demo setup-test setup-bench demo test check format sample lock bench clean

help:            ## these lines
	@grep -E '^[a-z-]+: .*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: setup-test ## all that demo, check and test need

setup-demo setup-test setup-bench: setup-%:
	@scripts/setup.sh $*

demo: setup-demo ## rescues the sample disc into .demo/ and shows what is wrong with it
	@scripts/demo.sh

test: check      ## the checks, then every test
	@.venv/bin/python -m compileall -q ntt # most tests start ntt anew; a PYTHONDONTWRITEBYTECODE would compile it each time
	.venv/bin/python -m pytest

check: setup-test ## style, types, layers, shell scripts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/mypy scripts/*.py bench
	cd tests/e2e && MYPYPATH=..:../../typings ../../.venv/bin/mypy .
	.venv/bin/lint-imports
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run tests/e2e/machine/guest/*.sh; else echo 'no shellcheck here: scripts not checked'; fi

format: setup-test ## lays out the source as check wants it
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

sample: setup-test ## makes samples/ anew; the bytes stay the same
	.venv/bin/python scripts/make_sample.py

lock: setup-test ## pins the Python packages of pyproject.toml anew
	scripts/lock.sh

bench: setup-bench ## measures NTT beside comparable tools
	.venv/bin/python -m bench

clean:           ## removes what the targets made, except .venv
	@if [ -d .demo ] && [ -x .venv/bin/ntt ]; then .venv/bin/ntt db stop --home .demo >/dev/null 2>&1 || true; fi
	rm -rf .demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find ntt tests scripts bench -name __pycache__ -type d -prune -exec rm -rf {} +
