"""Networks of Lava's own processes, supervised: the same bits, and an error where Lava waits for ever."""

import json
import os
from pathlib import Path

import pytest
from lava_programs import output_of

pytestmark = pytest.mark.lava
SCRIPT = Path(__file__).with_name("supervised_scenarios.py")
CYCLES = int(os.environ.get("CORTEXC_CYCLES", "20"))


def result(folder: Path, *arguments: str, seconds: float = 60.0):
    return json.loads(output_of(folder, SCRIPT, *arguments, seconds=seconds))


def test_the_values_are_those_of_lava(tmp_path):
    assert result(tmp_path, "equal_to_lava") == {"equal": True, "moved": True}


def test_start_pause_go_on_stop_and_again(tmp_path):
    assert result(tmp_path, "pauses") == 2 * ["NotUsable", True, True]


def test_a_fault_is_an_error_and_the_next_network_runs(tmp_path):
    found = result(tmp_path, "faults")
    assert found["raise"][0] == found["constructor"][0] == "ChildRaised"
    assert all("B raised" in found[name][1] and "ZeroDivisionError: the weights are gone" in found[name][1]
               for name in ("raise", "constructor"))
    assert found["exit"][0] == "ChildDied" and found["exit"][1].startswith("B ")
    assert found["wait"][0] == "Stalled"
    assert all(f"{name} waits to receive current_in" in found["wait"][1] for name in "ABC")
    assert found["left"] == 0 and found["next"] == {"equal": True, "moved": True}


def test_ctrl_c(tmp_path):
    assert result(tmp_path, "interrupted") == {"interrupted": True, "left": 0, "v": 5}


def test_nothing_grows(tmp_path):
    """About 3 kB stay of a network; its processes, variables and channels take 84 kB."""
    early, late = result(tmp_path, "cycles", str(CYCLES), seconds=60 + 3 * CYCLES)
    assert late[:2] == early[:2] and late[2] - early[2] < 500 + 20 * CYCLES
    print(f"{CYCLES} cycles: descriptors {late[0]}, threads {late[1]}, memory {early[2]} to {late[2]} kB")
