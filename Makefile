# `make run` opens the app, `make test` proves it; each sets up what it needs. PYTHON=python3.12 picks an interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 8501
SECONDS ?= 60
SEED ?= 0

.PHONY: run test prove fuzz other-processor lint browser benchmarks clean

run: $(VENV)/installed
	$(BIN)/ravine app --port $(PORT)

test: $(VENV)/installed-dev lint browser
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder # the slow files of the browser come first

prove: $(VENV)/installed-dev browser # the whole of each product of cases of which `make test` runs a sample
	$(BIN)/python -m pytest -n auto -m "prove or sampled"

fuzz: $(VENV)/installed-dev # hostile links, formulas and files: SECONDS for each door, SEED draws others
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

other-processor: $(VENV)/installed-dev # the numerical tests as a processor of another kind would run them
	$(BIN)/python -m tests.other_processor -n auto --dist loadfile

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

browser: $(VENV)/installed-dev
	sh tests/browser/install-chromium.sh $(BIN)/python

benchmarks: $(VENV)/installed-dev browser
	$(BIN)/python -m benchmarks

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
