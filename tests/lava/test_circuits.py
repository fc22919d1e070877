"""Circuits as processes of ordinary Lava networks, on Lava."""

import json
import os
import re
from pathlib import Path

import pytest
from lava_programs import ROOT, output_of

pytestmark = pytest.mark.lava
HERE = Path(__file__).parent
CYCLES = os.environ.get("CORTEXC_CYCLES", "12")
EXAMPLES = ROOT / "examples" / "lava"


def scenario(name, folder, *arguments, seconds=60):
    output = output_of(folder, HERE / "circuit_scenarios.py", name, *arguments, seconds=seconds)
    return json.loads(output.splitlines()[-1])


def test_get_of_every_var_is_what_native_records(tmp_path):
    """CORTEXC_STEPS=10000 for as many."""
    steps = os.environ.get("CORTEXC_STEPS", "60")
    found = scenario("vars_are_recordings", tmp_path, steps, seconds=60 + int(steps) / 20)
    assert found["wrong"] == [] and found["compared"] == 20


def test_run_pause_go_on_stop_and_run_again(tmp_path):
    found = scenario("cycles", tmp_path)
    assert all(found[f"{what} {round}"] is True for what in ("moved", "set") for round in (0, 1))
    assert found["first 0"] == found["first 1"] != [[0.25] * 4] * 2


def test_minibatches_of_two_circuits_that_are_coupled(tmp_path):
    assert scenario("coupled_minibatches", tmp_path) == {
        "shapes": [[2, 4, 2], [2, 2, 2], [40, 2, 2, 3]], "moved": True, "equal": [True, True, True]}


def test_tags_choose_between_real_numbers_and_fixed_point(tmp_path):
    found = scenario("fixed_point", tmp_path)
    assert all(each["moved"] and each["spikes"] for each in found.values())
    assert found["fixed_pt"]["whole"] and not found["floating_pt"]["whole"]


def test_cycles_leave_nothing(tmp_path):
    """CORTEXC_CYCLES=500 for as many."""
    found = json.loads(output_of(tmp_path, HERE / "circuit_scenarios.py", "soak", CYCLES, seconds=60 + 2 * int(CYCLES)))
    first, last = found["first"], found["last"]
    assert last[:2] == first[:2] and last[2] - first[2] < 2000 + 200 * int(CYCLES)


EXPECTED = {
    "beside_lif": r"spikes behind the circuit: \[28. 23.\] weights: \[\[0.405, 0.746",
    "feed_and_monitor": r"v after 1, 100, 200 steps: \[0.037 0.037\] .*\nweights: \[\[0.428, 0.543",
    "minibatch": r"v of \(100, 2, 3, 8\) mean at the end: 1.016\nweights of the seeds: \(2, 4, 3\) \[0.512 ",
    "one_population": r"u after 1, 100 and 500 steps: \[0.    0.001 0.001\] \[0.    0.055 0.109\] \[0.    0.194 0.389\]",
    "sensor_and_digits": r"'WPP_0': 0.0014[0-9]*, 'WPP_1': 3.3[0-9]*e-05, 'WIP_0': 0.006[0-9]*, 'BPP_0': 0.0, 'BPI_0': 0.0006",
    "stdp_on_learning_dense": r"LearningDense -1\*2\^-1\*u0\*x2\*y1\+1\*2\^-1\*u0\*x1\*y2\nthe same weights: True moved: [5-8]\d",
    "supervised": r"Process_3: IndexError: index 50 is out of bounds .*\nv after 50 steps: \[3.493 6.71  5.882\]",
    "two_circuits": r"A \[1.656 1.654\] \[\[0.605, .*\nB \[0.967 0.887\] \[\[0.436, 0.128",
    "weights_in_a_pause": r"for a while: True\nfrom 0.25 on: (.*)\nlearning off: \1",
}


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_examples(name, tmp_path):
    assert re.search(EXPECTED[name], output_of(tmp_path, EXAMPLES / f"{name}.py"))
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 40
