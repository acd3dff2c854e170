# `make help` lists what there is. Nothing but PYTHON (3.11 or later) and a shell is needed.
#   make test PYTHON=python3.12 VENV=.venv312     another Python, beside the first
#   make test ARGS='tests/engine -x'              arguments of the tool

PYTHON ?= python3
# Here, unless this directory, or the .venv in it, is somebody else's.
VENV ?= $(shell \
	if [ -w . ] && { [ ! -e .venv ] || { [ -w .venv ] && [ -x .venv/bin/python ]; }; }; \
	then echo .venv; \
	else echo "$${TMPDIR:-/tmp}/grctl-$$(id -u)/venv-$$(pwd | cksum | cut -d' ' -f1)"; fi)
EXTRAS ?= dev,fast,metrics,otel,web,top,test,lint,bench,docs
ARGS ?=

PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
CODE := grctl migrations tests docs examples benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test check format bounds bench chaos mutants soak docs deployment clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) \
		| awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

setup: $(STAMP) ## make the virtual environment and install everything into it

demo: $(STAMP) ## a workflow that survives its workers, on a PostgreSQL of its own
	@$(PY) -m examples.demo $(ARGS)

dev: $(STAMP) ## PostgreSQL and a worker, for development
	@$(VENV)/bin/grctl dev $(ARGS)

test: $(STAMP) ## all tests but chaos and docker
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

check: $(STAMP) ## lint, format, types, layers
	$(VENV)/bin/ruff check --no-cache $(CODE)
	$(VENV)/bin/ruff format --no-cache --check $(CODE)
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-cache

format: $(STAMP) ## put the code into its form
	$(VENV)/bin/ruff check --fix $(CODE)
	$(VENV)/bin/ruff format $(CODE)

bounds: $(STAMP) ## the tests with the oldest dependencies that pyproject.toml allows
	$(VENV)/bin/uv venv --quiet --seed --clear --python $(PY) $(VENV)-bounds
	$(VENV)/bin/uv pip install --quiet --python $(VENV)-bounds/bin/python --resolution lowest-direct \
		-e '.[dev,fast,metrics,otel,web,top,test]'
	$(VENV)-bounds/bin/python -m pytest -W default::DeprecationWarning \
		--numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

bench: $(STAMP) ## how fast it is on this machine
	@$(PY) -m benchmarks $(ARGS)

chaos: $(STAMP) ## the long forms of random tests, and storms of faults with their figures
	$(PY) -m pytest -m chaos $(ARGS)

mutants: $(STAMP) ## plant each known bug in a copy, and see which test notices it
	@$(PY) -m tests.chaos.mutants $(ARGS)

soak: $(STAMP) ## 100,000 runs under faults in turn, and what must stay flat; ARGS='--runs 5000'
	@$(PY) -m tests.chaos.soak $(ARGS)

docs: $(STAMP) ## the documentation as a site, links checked; ARGS=serve shows it
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs $(or $(ARGS),build)

deployment: $(STAMP) ## the compose file, really run: up, kill, restart, scale, update
	GRCTL_TEST_DOCKER=1 $(PY) -m pytest -m docker tests/deployment $(ARGS)

clean: ## remove what the targets above have made here
	rm -rf .venv .venv-bounds .demo build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache \
		.hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is not Python 3.11 or later: name one, e.g. make PYTHON=python3.12"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment in $(VENV). If ensurepip is missing,"; \
		echo "install it (Debian, Ubuntu: apt install python3-venv) or name another Python:"; \
		echo "make PYTHON=...; if the directory cannot be written, name another: make VENV=..."; \
		exit 1; }
	@echo "installing into $(VENV), which takes some minutes"
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@
