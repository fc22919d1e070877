"""A short run of the fuzzer, and proof that it sees what must never be. The long run is `make fuzz`."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")
INPUTS = int(os.environ.get("CORTEXC_FUZZ", "600"))
FAULTS = {
    "uncaught": "doors.parse = lambda text: {}['nothing']",
    "executed": "doors.parse = lambda text: exec('FUZZ_RAN = 1')",
    "hang": "import time; doors.parse = lambda text: time.sleep(60)",
    "memory": "doors.parse = lambda text: bytearray(3 * 2**30)",
    "died": "import os; doors.parse = lambda text: os.abort()"}


def run(*arguments: str, fault: str = "") -> dict:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "CORTEXC_FUZZ_FAULT": fault}
    done = subprocess.run([sys.executable, str(FUZZ), "--json", *arguments], capture_output=True, text=True,
                          env=environment, timeout=3600, check=False)
    report = json.loads(done.stdout)
    assert done.returncode == bool(report["wrong"]), done.stderr
    return report


@pytest.mark.slow
def test_no_input_gets_further_than_a_coded_error():
    report = run("--inputs", str(INPUTS), "--seed", "16")
    assert report["inputs"] == INPUTS and report["outcomes"].keys() <= {"accepted", "refused"}, report["wrong"]
    assert len(report["doors"]) == 12
    assert all(any(what == "accepted" for what in outcomes) for outcomes in report["doors"].values())


@pytest.mark.slow
@pytest.mark.parametrize("outcome", FAULTS)
def test_the_fuzzer_sees_a_planted_fault(outcome):
    report = run("--only", "1", "--longest", "4", fault=FAULTS[outcome])
    assert [each["outcome"].split()[0] for each in report["wrong"]] == [outcome]
