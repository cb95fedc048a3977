# Every verb builds the environment it needs; `make` alone lists the verbs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

HERE := $(CURDIR)
PY := "$(HERE)/.venv/bin/python"
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sglang-kimi
PORT ?= 30000
PYTHON ?=
export UV ?= $(or $(shell command -v uv),$(CACHE)/uv/bin/uv)

# A version manager's shim may answer to a name and still not run: each candidate has to prove itself.
FIND_PYTHON = for p in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	  if "$$p" -c 'import fcntl, ssl, sys, tomllib; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then echo "$$p"; exit 0; fi; done; \
	echo "[venv] error: no Python 3.11 or newer that runs was found (tried $(PYTHON) python3.11" \
	  "python3.12 python3.13 python3). Install one (Debian, Ubuntu: apt-get install python3.11" \
	  "python3.11-venv; or: uv python install 3.11), or name one: PYTHON=/path/to/python3.11 make ..." >&2; exit 1
ENVIRONMENT = python="$$($(FIND_PYTHON))"; "$$python" "$(HERE)/launch/environment.py"

# A library that SGLang imports warns as Python ends, after pytest's last line.
export PYTHONWARNINGS ?= ignore:builtin type:DeprecationWarning

# Unit tests first, then those that import sglang, then those with a real server; one run, so that
# the last line tells it all.
HOST_TESTS := $(wildcard tests/plugin tests/server)
UNIT_TESTS := $(filter-out tests/__pycache__ tests/gpu $(HOST_TESTS),$(patsubst %/,%,$(wildcard tests/*/))) $(wildcard tests/test_*.py)

.PHONY: help venv venv-path demo serve test unit fuzz test-gpu compile-gpu lint fmt types clean clean-cache

help:  ## list the verbs
	@grep -hE '^[a-z-]+:.*##' "$(HERE)/Makefile" | sed -E 's/:[^#]*## */\t/' | \
	  while IFS=$$'\t' read -r verb text; do printf '  make %-12s %s\n' "$$verb" "$$text"; done

venv:
	@$(ENVIRONMENT)

venv-path:  ## print the environment's folder (built if needed)
	@$(ENVIRONMENT) --print-path

demo: venv  ## serve a mini checkpoint and run an agent loop on it
	@$(PY) -P -m sglang_kimi.launch demo

serve: venv  ## leave a server with a mini checkpoint running on PORT=30000
	@$(PY) -P -m sglang_kimi.launch demo --serve --port $(PORT)

test: venv  ## all tests: units first, then those with a real server
	@$(PY) -m pytest -ra $(UNIT_TESTS) $(HOST_TESTS)

unit: venv  ## only the quick tests, which need no sglang: under a minute
	@$(PY) -m pytest -q -m 'not slow' $(UNIT_TESTS)

fuzz: venv  ## 100,000 random outputs through the parsers; FUZZ="--num N --seed S" for others
	@$(PY) -m tests.parsers.fuzz $(FUZZ)

test-gpu: venv  ## the tests that need an NVIDIA GPU; fails where none is
	@$(PY) -P -c 'import torch; raise SystemExit(0 if torch.cuda.is_available() else \
	  "test-gpu: no NVIDIA GPU here, nothing was tested")'
	@$(PY) -m pytest -ra -s tests/gpu

compile-gpu: venv  ## nvcc compiles the GPU modules for Hopper and Blackwell, without a GPU (minutes, once)
	@$(PY) -P tests/compile/mla_modules.py $(COMPILE)

lint: venv types  ## ruff, format check and types
	@status=0; $(PY) -m ruff check . || status=1; $(PY) -m ruff format --check . || status=1; exit $$status

fmt: venv  ## format the code and mend what ruff can mend
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format .

# mypy does not follow the mapped rooms of an editable install: it gets links that look installed.
types: venv  ## mypy --strict over the whole package
	@rm -rf build/types && mkdir -p build/types/sglang_kimi
	@ln -s "$(HERE)"/sglang_kimi/* build/types/sglang_kimi/
	@ln -s "$(HERE)/parsers" "$(HERE)/kernels" "$(HERE)/launch" build/types/sglang_kimi/
	@MYPYPATH=build/types $(PY) -m mypy --cache-dir "$(CACHE)/mypy" -p sglang_kimi

clean:  ## remove what was built in this checkout
	@rm -rf .venv build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-cache:  ## remove sets of dependencies that this checkout does not use
	@$(ENVIRONMENT) --clean-cache
