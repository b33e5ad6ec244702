# Two commands for a newcomer: `make demo` and `make test`. Both set everything up first.
# Needs Python 3.11 with venv, make and git (README.md names the Debian packages).

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# All state of the demo installation; `make demo RCS_HOME=/some/where` puts it elsewhere.
RCS_HOME ?= .rcs
SCALE ?= full
SEED ?=
REFERENCE ?=
PORT ?= 3000

# Nothing here calls home.
export DBT_SEND_ANONYMOUS_USAGE_STATS := false
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := false
export DAGSTER_DISABLE_TELEMETRY := yes
export UV_NO_PROGRESS := 1
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo ui test test-all lint format bench docs snapshots constraints clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv with the pinned packages

# Made anew whenever the package or its pins change.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; found: $$($(PYTHON) --version 2>&1)." \
		          "Name another one: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { echo "venv is missing: apt-get install python3.11-venv" >&2; rm -rf $(VENV); exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: $(READY)  ## simulate, deliver, materialise, publish: the platform's main job
	@$(BIN)/rcs demo --home "$(RCS_HOME)" --scale $(SCALE) \
		$(if $(SEED),--seed $(SEED)) $(if $(REFERENCE),--reference "$(REFERENCE)")

ui: $(READY)  ## the graph in Dagster's UI, on loopback only
	@$(BIN)/rcs ui --home "$(RCS_HOME)" --port $(PORT)

test: lint  ## lint, then every test but the slow ones (README.md says how long)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10 -m "not slow and not kill"

test-all: lint  ## every test, kills and full size included
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(READY)  ## style, types, order of the rooms, SQL
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/sqlfluff lint dbt_project/models --disable-progress-bar

format: $(READY)  ## let ruff and sqlfluff decide
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/sqlfluff fix dbt_project/models --disable-progress-bar

bench: $(READY)  ## wall, peak memory and each room's share at small, full and a quarter of national size
	@$(BIN)/python benchmarks/spine.py --scale small full quarter

docs: $(READY)  ## write the generated reference pages anew
	@$(BIN)/python docs/build_reference.py

snapshots: $(READY)  ## accept graph and pictures of pages as they are now (review the difference)
	@$(BIN)/python -m tests.graph.snapshot
	@! command -v chromium > /dev/null || $(BIN)/python -m tests.acceptance.pictures

constraints: $(READY)  ## pin everything anew after a change of pyproject.toml
	@$(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 --all-extras \
		pyproject.toml -o constraints.txt

clean:  ## remove what was set up; the demo's state in $(RCS_HOME) stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dbt_project/target
