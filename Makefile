# Two commands do all the set-up: `make demo` and `make test`. A second run installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test test-all check clean

help:
	@echo "make demo      set up, then train, evaluate and predict on the pictures that come with the package"
	@echo "make test      set up, then run the tests (make test-all: the slow ones too)"
	@echo "make check     format, lint, check types and imports (changes nothing when CI=true)"
	@echo "make clean     remove what these commands made, runs/ excepted"

demo: $(VENV)/installed
	$(BIN)/ception demo

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2

check: $(VENV)/installed-dev
ifeq ($(CI),true)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
else
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
endif
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit('Ception needs Python 3.11 or later; \
	this is ' + sys.version.split()[0] + '. Name another with: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[tensorflow]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[tensorflow,dev]'
	@touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
