# `make run` and `make test` each work alone, on a bare machine with Python 3.11 or newer.
# A small CPU-only build of torch, where your package index has one: make run TORCH=torch==2.13.0

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch
BIN := $(VENV)/bin

# Tests run beside each other, one to a core, so that none needs more than one.
TESTS := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses=auto --dist=worksteal

.PHONY: run test test-fast coverage check lint types layers format bench docs doc-commands clean
.PHONY: examples wheel licences audit fuzz

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

# Warnings are errors; a word of the theme's makers about their other products is none.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# What pages tell their reader to run, in this order, upon what `make run` left.
DOC_PAGES := docs/start.md docs/tutorials/glaciers.md docs/tutorials/thaw-slumps.md \
	docs/tutorials/land-cover.md docs/tutorials/labels.md docs/howto/sensor.md docs/howto/classes.md \
	docs/howto/recipe-package.md docs/howto/slurm.md docs/howto/qgis.md docs/tools.md \
	docs/mapping.md docs/pivot.md docs/presence.md docs/active.md docs/view.md docs/recipes.md \
	docs/catalog.md docs/inventory.md CONTRIBUTING.md examples/README.md \
	docs/reference/index.md recipes/glacier_inventory/README.md recipes/thaw_slump/README.md \
	recipes/pivot_landcover/README.md recipes/active_labelling/README.md README.md

doc-commands: $(VENV)/.installed-dev
	rm -rf out/commands
	$(BIN)/python docs/run_commands.py --into out/commands --lend examples --lend out/run $(DOC_PAGES)

# Notebooks and scripts from nothing, in out/examples: what is committed of them stays as it is.
EXAMPLES := out/examples

examples: $(VENV)/.installed-dev
	rm -rf $(EXAMPLES)
	mkdir -p $(addprefix $(EXAMPLES)/,$(basename $(notdir $(wildcard examples/*.ipynb))))
	for one in examples/*.ipynb; do cp $$one $(EXAMPLES)/$$(basename $$one .ipynb); done
	PATH="$(abspath $(BIN)):$$PATH" $(TESTS) -p nbmake.pytest_plugin --nbmake --nbmake-timeout=600 \
		$(EXAMPLES)
	cd $(EXAMPLES) && for one in $(abspath $(wildcard examples/*.py)); do \
		OMP_NUM_THREADS=1 $(abspath $(BIN))/python $$one || exit 1; done

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/everest.py
	$(BIN)/python benchmarks/sensors.py
	$(BIN)/python benchmarks/terrain.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/vectorize.py
	$(BIN)/python benchmarks/kill_resume.py
	$(BIN)/python benchmarks/reliability.py
	$(BIN)/python benchmarks/track.py
	$(BIN)/python benchmarks/presence.py
	$(BIN)/python benchmarks/pivot.py
	$(BIN)/python benchmarks/active.py
	$(BIN)/python benchmarks/scale.py

# The wheel, installed by itself into an environment of its own, as users get it.
wheel: $(VENV)/.installed-dev
	rm -rf dist out/wheel
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv out/wheel
	out/wheel/bin/python -m pip install --quiet "$(TORCH)" dist/*.whl
	out/wheel/bin/python -m pip check
	cd out && wheel/bin/geoseg --version && wheel/bin/geoseg glacier-inventory --help >wheel/help.txt

licences: $(VENV)/.installed-dev
	$(BIN)/python docs/write_licences.py

audit: $(VENV)/.installed-dev
	$(BIN)/python .ci/audit.py $(AUDIT)

# Each parser for so long, or the named ones: make fuzz SECONDS=60 PARSERS="dimap place"
SECONDS ?= 60
PARSERS ?=

fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet -e ".[fuzz]"
	$(BIN)/python tests/security/fuzz.py --seconds $(SECONDS) $(PARSERS)

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
