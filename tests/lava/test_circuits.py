"""Circuits as processes of ordinary Lava networks, on Lava."""

import json
import re
from pathlib import Path

import pytest
from lava_programs import ROOT, output_of

pytestmark = pytest.mark.lava
HERE = Path(__file__).parent
EXAMPLES = ROOT / "examples" / "lava"


def scenario(name, folder):
    return json.loads(output_of(folder, HERE / "circuit_scenarios.py", name).splitlines()[-1])


def test_get_of_every_var_is_what_native_records(tmp_path):
    found = scenario("vars_are_recordings", tmp_path)
    assert found["wrong"] == [] and found["compared"] == 20


def test_run_pause_go_on_stop_and_run_again(tmp_path):
    found = scenario("cycles", tmp_path)
    assert all(found[f"{what} {round}"] is True for what in ("moved", "set") for round in (0, 1))
    assert found["first 0"] == found["first 1"] != [[0.25] * 4] * 2


EXPECTED = {"feed_and_monitor": r"v after 1, 100, 200 steps: \[0.037 0.037\] .*\nweights: \[\[0.428, 0.543"}


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_examples(name, tmp_path):
    assert re.search(EXPECTED[name], output_of(tmp_path, EXAMPLES / f"{name}.py"))
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 40
