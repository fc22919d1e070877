# make setup | demo | test | test-fast | check
PYTHON ?= python3.10
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1

.PHONY: setup demo test test-fast check clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e ".[lava,reference,dev]"
	touch $@

demo: setup
	$(BIN)/cortexc bench demo -o runs/demo

test: setup
	$(BIN)/pytest

test-fast: setup
	$(BIN)/pytest -m "not lava and not slow" tests/ir tests/passes tests/backends/test_feed.py \
		tests/verify/test_golden_files.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) runs build *.egg-info
