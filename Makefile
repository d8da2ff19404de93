# A fresh clone needs only Python, make and a package index: every target builds .venv on demand.

PYTHON ?= python3
# Exact versions that are known to work; CONSTRAINTS=/dev/null takes the newest of everything.
CONSTRAINTS ?= constraints.txt
# Where `make demo` leaves its evidence.
OUTPUT ?= runs/demo
# What `make bench` measures, and on what; no JOBS are all of them.
DATA ?= ../shared/data
DEVICE ?= cpu
ROUNDS ?= 3
JOBS ?=
# What `make gpu-carry` writes and `make gpu` reads, where it leaves its results, and its options: see docs/benchmarks.md.
CARRY ?= runs/gpu-carry
OUT ?= runs/gpu.json
OPTIONS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c $(CONSTRAINTS)
# One thread for each worker.  Bytecode is kept: each worker, and each command that a test starts, would compile all anew.
TESTED = OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=

.DEFAULT_GOAL := help
.PHONY: help demo check test lint docs wheel bench gpu gpu-carry ci clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.stamp ## make a model forget twenty men of a wage panel, and audit it; leaves OUTPUT=runs/demo
	$(BIN)/unregress demo --output $(OUTPUT)

test: $(VENV)/.stamp-dev ## run every test, doctests and slow ones included, on all cores
	$(TESTED) $(BIN)/python -m pytest -n auto --dist loadfile --durations 20

check: lint ## what every change must pass, in minutes: style, types and the quick tests
	$(TESTED) $(BIN)/python -m pytest -n auto --dist loadfile -q -m 'not slow and not data'

lint: $(VENV)/.stamp-dev ## check style, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/.stamp-docs ## build the documentation in site/; it is read without a server
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

wheel: $(VENV)/.stamp-dev ## build wheel and source archive in dist/, and run the demo from the wheel alone
	.ci/wheel $(BIN)/python

bench: $(VENV)/.stamp-dev ## measure speed on DATA=../shared/data; see docs/benchmarks.md
	$(BIN)/python benchmarks/bench.py --data $(DATA) --device $(DEVICE) --rounds $(ROUNDS) $(JOBS)

gpu-carry: $(VENV)/.stamp-dev ## prepare CARRY=runs/gpu-carry, all that `make gpu` needs on a machine without a network
	$(BIN)/python benchmarks/gpu_pack.py $(CARRY) --data $(DATA) $(OPTIONS)

# On the other machine: its own Python, which has PyTorch for CUDA.
gpu: ## run GPU tests and benchmarks from CARRY in under 8 minutes; leaves OUT=runs/gpu.json
	$(PYTHON) benchmarks/gpu_run.py $(CARRY) --output $(OUT) --device $(if $(filter file,$(origin DEVICE)),cuda,$(DEVICE)) $(OPTIONS)

ci: test lint demo wheel docs ## what continuous integration runs

clean: ## remove .venv, caches, packages, the site and runs/demo
	rm -rf $(VENV) build dist site runs/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# What a user gets; PyTorch makes the first time slow.
$(VENV)/.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "unregress needs Python 3.11 or newer, and '$(PYTHON)' is not." >&2; \
	  echo "Name a newer one: make PYTHON=python3.13 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[demo]'
	@touch $@

# What a developer and continuous integration get.
$(VENV)/.stamp-dev: $(VENV)/.stamp
	$(INSTALL) -e '.[experiments,dev]'
	@touch $@

$(VENV)/.stamp-docs: $(VENV)/.stamp-dev
	$(INSTALL) -e '.[docs]'
	@touch $@
