# rnnlab: `make demo` and `make test` need nothing but git, make and Python >= 3.11.
PYTHON ?= python3
STORE ?= runs/rnnlab.db
OUT ?= reports/out
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install demo ui report screenshots test slow check bench drill clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

install: $(READY) ## make .venv and install what constraints.txt locks

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rnnlab needs Python >= 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): about 1.7 GB, a minute or two"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## run the two demo sweeps and draw their figures, 3 minutes
	$(BIN)/python -m experiments.train experiment=demo_copy "store.path=$(STORE)"
	$(BIN)/python -m experiments.train experiment=demo_adding "store.path=$(STORE)"
	$(BIN)/python -m reports.build demo_copy demo_adding "store.path=$(STORE)" "out=$(OUT)"
	@echo "Browse the runs:  make ui"

ui: $(READY) ## the MLflow UI on 127.0.0.1
	@$(BIN)/python -m experiments.ui "store.path=$(STORE)"

report: $(READY) ## regenerate all figures from the store
	@$(BIN)/python -m reports.build "store.path=$(STORE)" "out=$(OUT)"

screenshots: $(READY) ## the README's pictures of the report and the MLflow UI; needs Chromium
	@$(BIN)/python -m reports.screenshots "store.path=$(STORE)"

test: $(READY) ## run the tests, but for the slow ones, in two processes
	$(BIN)/python -m pytest -n 2 -m "not slow"

slow: $(READY) ## run the slow tests, one after another, as they start processes of their own
	$(BIN)/python -m pytest -m slow

check: $(READY) ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## stacked training against torch.nn.RNN, on this machine
	$(BIN)/python -m benchmarks.stack

drill: $(READY) ## kill a sweep 50 times, fill its disk, lock its database; nothing may be lost (20 minutes)
	$(BIN)/python -m benchmarks.kills
	$(BIN)/python -m benchmarks.hardships

clean: ## remove .venv and caches; keeps runs/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
