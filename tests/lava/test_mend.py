"""Lava 0.10.0 can be imported on every Python that we name, once lava_procs was; nothing else changes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = sys.version_info >= (3, 11)
IMPORT = "from lava.magma.compiler.var_model import ByteEncoder, CoreEncoder"


def said(program: str) -> str:
    run = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", program], cwd=ROOT, timeout=120,
                         capture_output=True, text=True)
    return run.stdout + run.stderr


@pytest.mark.lava
def test_lava_is_imported_and_dataclasses_are_as_before():
    text = said(f"import dataclasses; before = dataclasses.dataclass; import lava_procs; {IMPORT}; "
                "from lava.proc.lif.process import LIF; print(dataclasses.dataclass is before, CoreEncoder())")
    assert text.strip() == "True " + "CoreEncoder(" + ", ".join(
        f"{name}=ByteEncoder(base=0, len=0, ptr=0)" for name in "xyp") + ")"


@pytest.mark.lava
@pytest.mark.skipif(not NEEDED, reason="Python 3.10 takes the default as it is")
def test_the_mend_is_needed_and_is_made_once():
    assert "mutable default" in said(IMPORT)
    finders = "sum(type(f).__module__ == 'lava_procs.mend' for f in sys.meta_path)"
    assert said(f"import sys, cortexc, lava_procs; {IMPORT}; print({finders})").strip() == "1"
