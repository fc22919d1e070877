"""`cortexc bench lava-messages`: every network runs, and every figure is one."""

import json
from pathlib import Path

import pytest
from lava_programs import output_of

pytestmark = pytest.mark.lava
PROGRAM = """import json
from cortexc.lava_procs.message_cost import rows
print(json.dumps(rows({"steps": 40, "processes": [2]})))
"""


def test_rows(tmp_path: Path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    found = json.loads(output_of(tmp_path, script))
    assert [(row["network"], row["protocol"]) for row in found[:4]] == [
        (network, protocol) for protocol in ("loihi", "async") for network in ("lava", "supervised")]
    assert all(0 < row["us_per_step"] <= row["median_us_per_step"] for row in found[:4])
    assert [row["part"] for row in found[4:]] == ["copy in and out", "semaphore that nobody waits for", "process that sleeps"]
    assert all(row["us"] > 0 for row in found[4:])
