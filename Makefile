# make setup | demo | test | test-fast | test-long | fuzz | check | docs
# PYTHON=COMMAND: by default the first of .python-version, newest first, that can be set up
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1

.PHONY: setup demo test test-fast test-long fuzz check docs clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml .python-version .ci/setup
	.ci/setup $(VENV) $(PYTHON)
	touch $@

demo: setup
	$(BIN)/cortexc bench demo -o runs/demo

test: setup  # what starts no Lava, then what does, file by file: its processes wait for each other more than they compute
	$(BIN)/pytest -n 2 --dist worksteal -m "not lava"
	$(BIN)/pytest -n 2 --dist loadfile -m lava

test-long: setup  # hours: bits over long runs, many random circuits, many kills
	CORTEXC_GRAPHS=10000 CORTEXC_JITTED_GRAPHS=300 $(BIN)/pytest -s -n 2 tests/backends/test_random_survey.py
	CORTEXC_STEPS=10000 $(BIN)/pytest -n 2 tests/fixed_point/test_circuits.py tests/verify/test_own_circuits.py -k "many_plastic or for_long"
	CORTEXC_NAMES=5 $(BIN)/pytest tests/security/test_names_never_meet.py
	CORTEXC_STEPS=10000 CORTEXC_LAVA_GRAPHS=100 CORTEXC_KILLS=100 $(BIN)/pytest -s tests/lava \
		tests/fixed_point/test_circuits.py -k "lava_computes or kill or random or native_records"
	CORTEXC_STEPS=10000 $(BIN)/pytest -n 2 tests/fixed_point/test_stock_processes.py -k "shipped" tests/lava/test_circuit_bits.py
	CORTEXC_WHEEL=1 $(BIN)/pytest -s tests/cli/test_wheel.py
	CORTEXC_SWEEP=200 $(BIN)/pytest -s tests/experiments/test_sweep_cluster.py -k digests
	CORTEXC_CYCLES=500 $(BIN)/pytest -s tests/lava/test_supervised.py -k grows

fuzz: setup  # about an hour
	$(BIN)/python tests/fuzz/fuzz.py --inputs 100000

test-fast: setup
	$(BIN)/pytest -m "not lava and not slow" tests/ir tests/passes tests/backends/test_feed.py \
		tests/verify/test_golden_files.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup  # into site/; whatever is not whole is an error
	$(BIN)/pip install --quiet --editable ".[docs]"
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) runs build site *.egg-info
