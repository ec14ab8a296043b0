# Every target says what it does after ##; `make` alone lists them.

VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.run-installed
DEV_STAMP := $(VENV)/.dev-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-config --group build

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup setup-dev web types wheel run test cover mutate check bench screenshots lock upgrade clean

help: ## List what make can do here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(RUN_STAMP) web ## Install what running needs into .venv, and build the web interface (skipped when nothing changed)

setup-dev: $(DEV_STAMP) ## Install what testing needs as well

web: $(RUN_STAMP) ## Build the web interface, with the machine's Node.js or one in .venv (skipped when nothing changed)
	@$(BIN)/python web/make.py build

types: $(RUN_STAMP) ## Write the types of the API that the web interface uses
	@$(BIN)/python web/make.py types

wheel: web ## Build a wheel into dist/, with the web interface in it
	@$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

run: setup ## Start the demo: server, sink, a workspace and some traffic
	@$(BIN)/waypost demo

test: setup-dev ## Run every test: the fast rings, then real processes, both in parallel
	@$(BIN)/python web/make.py test
	@$(BIN)/python -m pytest -n 4 --dist worksteal -m "not acceptance"
	@$(BIN)/python -m pytest -n 3 --dist worksteal -m acceptance

cover: setup-dev ## Run the fast rings and show which branches no test takes
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not acceptance" --cov --cov-report term-missing

mutate: setup-dev ## Change the program in small ways and list what no test notices (about an hour)
	@$(BIN)/python -m tests.mutate

check: setup-dev ## Lint, format and type checks, the rules for lock files and module length, the budgets of the interface
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/test_architecture.py tests/test_packaging.py tests/test_waiting.py
	@$(BIN)/python web/make.py check

bench: setup-dev ## Measure: what a user gets, then beside the bare program (about ten minutes)
	@$(BIN)/python -m bench

screenshots: setup-dev web ## Take the pictures of the web interface that the manual shows, from the demo (three minutes)
	@$(BIN)/python -m tests.screenshots

lock: setup-dev ## Pin again after requirements*.in changed, moving nothing else
	@$(COMPILE) requirements.in --output-file requirements.lock
	@$(COMPILE) requirements-dev.in --constraints requirements.lock --output-file requirements-dev.lock
	@$(COMPILE) requirements-web.in --constraints requirements.lock --output-file requirements-web.lock

upgrade: setup-dev ## Pin the newest versions of everything
	@$(COMPILE) --upgrade requirements.in --output-file requirements.lock
	@$(COMPILE) --upgrade requirements-dev.in --constraints requirements.lock --output-file requirements-dev.lock
	@$(COMPILE) --upgrade requirements-web.in --constraints requirements.lock --output-file requirements-web.lock

clean: ## Remove what make and the tests made (not your data)
	rm -rf $(VENV) build dist src/*.egg-info src/waypost/web web/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first interpreter that runs and is new enough; a version manager's stub may be on the PATH and not run.
$(BIN)/python:
	@for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Making $(VENV) with $$($$python --version)"; exec $$python -m venv $(VENV); \
	    fi; \
	done; \
	echo "Waypost needs Python 3.11 or newer; here is $$(python3 --version 2>&1 || echo none)." >&2; exit 1

# The lock is complete, so pip resolves nothing (--no-deps): old versions of pip refuse `coverage[toml]` in hash mode otherwise,
# as soon as a newer coverage exists. The build tool comes pinned from the lock, and the project is linked, not copied.
$(RUN_STAMP): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the pinned libraries"
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): requirements-dev.lock requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the pinned libraries, those for testing too"
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements-dev.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $(RUN_STAMP) $@
