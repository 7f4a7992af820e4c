# `make run` and `make test` each work alone, on a bare machine with Python 3.11 or newer.
# A small CPU-only build of torch, where your package index has one: make run TORCH=torch==2.13.0

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch
BIN := $(VENV)/bin

# Tests run beside each other, one to a core, so that none needs more than one.
TESTS := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses=auto --dist=worksteal

.PHONY: run test test-fast coverage check lint types layers format bench clean

run: $(VENV)/.installed
	$(BIN)/geoseg glacier-inventory run --data simulated --out out/run

test: check
	$(TESTS)

# A third slower: lines are counted.
coverage: $(VENV)/.installed-dev
	$(TESTS) --cov --cov-report=term

test-fast: $(VENV)/.installed-dev
	$(TESTS) -m "not slow and not qgis and not gpu and not browser"

check: lint types layers

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy geoseg recipes

layers: $(VENV)/.installed-dev
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/everest.py
	$(BIN)/python benchmarks/sensors.py
	$(BIN)/python benchmarks/terrain.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/vectorize.py
	$(BIN)/python benchmarks/kill_resume.py
	$(BIN)/python benchmarks/track.py
	$(BIN)/python benchmarks/presence.py
	$(BIN)/python benchmarks/pivot.py
	$(BIN)/python benchmarks/active.py
	$(BIN)/python benchmarks/scale.py

clean:
	rm -rf $(VENV) out build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet "$(TORCH)" -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet "$(TORCH)" -e ".[dev]"
	@touch $(VENV)/.installed $@
