"""Single precision: close to double where 24 bits are enough, refused where they are not."""

import numpy as np
import pytest

import cortexc
from cortexc.compiler.backends.loading import c_compiler
from cortexc.compiler.backends.native import Native, Single
from cortexc.compiler.bench.speed import DIGITS, FIG3, LEARNING, job

FULL = ("fold", "eliminate-lookahead", "fuse-update")
pytestmark = pytest.mark.skipif(c_compiler() is None, reason="no C compiler")


@pytest.mark.parametrize("circuit", [FIG3, DIGITS])
def test_weights_stay_close(circuit):
    """Errors of a step are about 6e-8 of a value; what is learnt differs by less than 1e-4 of itself."""
    work = job(circuit, LEARNING, 1000, FULL)
    given = (work.program, work.protocol, work.samples, [1], work.recorded_noise)
    double, single = Native(*given), Single(*given)
    start = {q.name: double.value(f"{q.name}.w").copy() for q in work.program.graph.projections
             if work.program.graph.rule_of(q)}
    double.run()
    single.run()
    moved = np.concatenate([(double.value(f"{n}.w") - w).ravel() for n, w in start.items()])
    apart = np.concatenate([(double.value(f"{n}.w") - single.value(f"{n}.w")).ravel() for n in start])
    assert single.memory.dtype == np.float32 and 0 < np.sqrt((apart ** 2).mean()) < 1e-4 * np.sqrt((moved ** 2).mean())


INTEGERS = """
graph g
cell source
  input x
  send r = x
  message r
cell target
  port drive
  state u = 0
  receive u = drive
synapse s
  message r
  port drive
  unit 0.5
population a source 2
population b target 2
projection W s a -> b
"""


def test_integers_are_refused():
    with pytest.raises(cortexc.CortexError, match="E525.*whole units"):
        cortexc.simulate(cortexc.parse_graph(INTEGERS).with_(arrays={"W.w": np.eye(2)}), 3, backend="native32")


def test_without_a_compiler_it_is_refused(monkeypatch):
    monkeypatch.setenv("CORTEXC_KERNELS", "numba")
    work = job(FIG3, LEARNING, 10, FULL)
    with pytest.raises(cortexc.CortexError, match="E525.*no C compiler is there"):
        Single(work.program, work.protocol, work.samples, [1], work.recorded_noise)
