"""Lava 0.10.0 can be imported on every Python that we name, once lava_procs was; nothing else changes."""

import subprocess
import sys
from pathlib import Path

import pytest

from cortexc.lava_procs.mend import mend_environment

ROOT = Path(__file__).resolve().parents[2]
IMPORT = "from lava.magma.compiler.var_model import ByteEncoder, CoreEncoder"
UNMENDED = """import sys
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__module__ != 'cortexc.lava_procs.mend']
for name in [name for name in sys.modules if name.startswith('cortexc')]:
    del sys.modules[name]"""
FINDERS = "print(sum(type(f).__module__ == 'cortexc.lava_procs.mend' for f in sys.meta_path))"
new = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 takes the default as it is")
pytestmark = pytest.mark.lava


def said(*lines: str) -> str:
    run = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, timeout=120, capture_output=True, text=True)
    return (run.stdout + run.stderr).strip()


def test_lava_is_imported_and_dataclasses_are_as_before():
    fields = ", ".join(f"{name}=ByteEncoder(base=0, len=0, ptr=0)" for name in "xyp")
    assert said("import dataclasses; before = dataclasses.dataclass; import cortexc.lava_procs", IMPORT,
                "from lava.proc.lif.process import LIF",
                "print(dataclasses.dataclass is before, CoreEncoder())") == f"True CoreEncoder({fields})"


@new
def test_without_the_mend_it_is_refused():
    assert "mutable default" in said(UNMENDED, IMPORT)


@new
@pytest.mark.parametrize("ours", ["cortexc", "cortexc.lava_procs.group"])
def test_ours_mends_once(ours):
    assert said(UNMENDED, f"import {ours}; import cortexc.lava_procs", IMPORT, FINDERS) == "1"


@new
def test_an_environment_is_mended_before_anything_is_imported(tmp_path):
    mend_environment(str(tmp_path))
    assert said(UNMENDED, f"import site; site.addsitedir({str(tmp_path)!r})", IMPORT, FINDERS) == "1"


def test_an_environment_without_us_starts_as_before(tmp_path):
    mend_environment(str(tmp_path))
    assert said("import sys; sys.modules['cortexc.lava_procs'] = None", f"import site; site.addsitedir({str(tmp_path)!r})",
                "print('started')") == "started"
