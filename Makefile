# make demo   sets up .venv and runs the whole of it on the bundled clip
# make test   sets up .venv and the packages a display needs, and runs every test
# make lint   style, types, and which module may import which
VENV ?= .venv
BIN := $(VENV)/bin
# The first that runs (a name on the PATH may only be a shim) and is new enough.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
  $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$name && break; done)
DEMO ?= flowcut-demo

# Matrices here are small: threads of BLAS only get in each other's way.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo test test-core test-gui lint format bench bench-gui results gallery system-deps clean

demo: $(VENV)/.base
	$(BIN)/flowcut demo --out $(DEMO) --no-gui

test: test-core test-gui

# Panels are tested without a display here, but Qt wants its libraries all the same.
test-core: $(VENV)/.full system-deps
	$(BIN)/pytest -m "not gui and not slow" --ignore=tests/gui

test-gui: $(VENV)/.full system-deps
	env -u QT_QPA_PLATFORM timeout 1800 tests/gui/with-display.sh $(BIN)/pytest -m gui tests/gui

lint: $(VENV)/.full
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m npe2 validate flowcut_napari/napari.yaml

format: $(VENV)/.full
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The stages one by one, then memory and scale; the largest takes some minutes and 3 GB of disk.
bench: $(VENV)/.full
	$(BIN)/flowcut bench --preset handmade
	$(BIN)/pytest -q -m benchmark tests/benchmarks

# How quick the window is, drawing included; needs FLOWCUT_TEST_DATA or VIDEO.
bench-gui: $(VENV)/.full system-deps
	env -u QT_QPA_PLATFORM tests/gui/with-display.sh $(BIN)/python tests/benchmarks/gui.py $(VIDEO)
	env -u QT_QPA_PLATFORM tests/gui/with-display.sh $(BIN)/python tests/benchmarks/curating.py
	env -u QT_QPA_PLATFORM tests/gui/with-display.sh $(BIN)/python tests/benchmarks/watching.py

# The pictures of docs/workbench.md.
gallery: $(VENV)/.full system-deps
	env -u QT_QPA_PLATFORM tests/gui/with-display.sh $(BIN)/python docs/make_gallery.py

# Needs FLOWCUT_TEST_DATA, a folder with data/davis16 and weights/raft_small.pth.
results: $(VENV)/.full
	$(BIN)/python docs/make_results.py

system-deps:
	@tests/gui/system-deps.sh

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed; give PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Without a C++ compiler everything works but the CRF; the tool says so when it is used.
$(VENV)/.base: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/python -m pip install --quiet pydensecrf2 || echo "note: pydensecrf2 could not be installed (most often for want of g++); masks stay unrefined"
	@touch $@

$(VENV)/.full: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --editable ".[test]" "napari[pyside6]>=0.9" "PySide6!=6.12.0; python_version < '3.12'"
	@touch $@
