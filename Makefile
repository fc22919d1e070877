# make setup | demo | test | test-fast | test-long | fuzz | check
PYTHON ?= python3.10
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1

.PHONY: setup demo test test-fast test-long fuzz check clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e ".[lava,reference,dev]"
	touch $@

demo: setup
	$(BIN)/cortexc bench demo -o runs/demo

test: setup  # what starts no Lava on two cores, then what does, one by one
	$(BIN)/pytest -n 2 --dist worksteal -m "not lava"
	$(BIN)/pytest -m lava

test-long: setup  # hours: bits over long runs, many random circuits, many kills
	CORTEXC_STEPS=10000 CORTEXC_GRAPHS=10000 CORTEXC_KILLS=100 $(BIN)/pytest -m "slow or lava" tests/backends \
		tests/lava tests/fixed_point/test_circuits.py

fuzz: setup  # about an hour
	$(BIN)/python tests/fuzz/fuzz.py --inputs 100000

test-fast: setup
	$(BIN)/pytest -m "not lava and not slow" tests/ir tests/passes tests/backends/test_feed.py \
		tests/verify/test_golden_files.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) runs build *.egg-info
