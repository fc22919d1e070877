"""Lava against native: the same bits at every granularity, state that moves between them, readable code."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cortexc.compiler.backends.feeding import input_columns
from cortexc.compiler.backends.lava import LavaRun
from cortexc.compiler.backends.native import Native
from cortexc.compiler.bench.speed import LEARNING, random_weights
from cortexc.compiler.ir import CortexError, parse_graph
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.compiler.microcircuits.pal import Pal, build
from cortexc.compiler.passes import Request, pipeline, run_passes
from cortexc.compiler.passes.partition import Partition
from cortexc.compiler.verify.runs import Setup, trajectory

pytestmark = pytest.mark.lava

CIRCUIT = Pal((3, 4, 3, 2), eta_fw=(2.0,), eta_bw=(20.0,), eta_IP=(10.0,), eta_PI=(0.5,), sigma=(0.05,))
PASSES = {"network": ("fold", "eliminate-lookahead", "fuse-update"), "area": ("fold", "eliminate-lookahead"),
          "population": ("fold", "eliminate-lookahead")}


def work(granularity, noise="legacy", circuit=CIRCUIT):
    from dataclasses import replace

    from cortexc.compiler.backends.lowering import lower

    graph = random_weights(build(replace(circuit, noise=noise)), 3)
    names = [f"{q.name}.w" for q in graph.projections if weight_shape(graph, q)] + ["P2.breve", "P0.rate"]
    graph = run_passes(graph, pipeline(PASSES[granularity]), Request(frozenset(names))).graph
    phase = Phase("train", 4, 15, order="train", gates=tuple((g, (1.0,)) for g in LEARNING),
                  records=(("all", Record(every=1)),))
    protocol = Protocol((Phase("settle", 1, 10), phase), ("settle", "train", "train"), (Stream("all", tuple(names)),))
    program = lower(Partition(granularity).apply(graph), frozenset(names))
    samples = np.random.default_rng(4).uniform(0, 1, (4, input_columns(program.graph)[-1][1].stop))
    return program, protocol, samples, names


@pytest.mark.parametrize("granularity", ["network", "area", "population"])
def test_lava_has_the_bits_of_the_native_loop(granularity):
    program, protocol, samples, names = work(granularity)
    native = Native(program, protocol, samples, [7])
    native.run()
    with LavaRun(program, protocol, samples, [7], block=17) as lava:
        assert lava.run() == protocol.total == 130
        for name in names:
            assert np.array_equal(lava.records.rows("all", name), native.records.rows("all", name)), name
        moved = lava.records.rows("all", "WPP_0.w")
        assert np.abs(moved[-1] - moved[0]).max() > 0


SIGNED_ZERO = """graph signed_zero
  dt 1
cell source
  input x
  send rate = 0 * x
  message rate
cell target
  port p @ soma
  state u = 0
  send u = prev(u)
  factor sign = 0 * (prev(u) - 1)
rule reciprocal
  increment where(1 / (pre.rate + post.sign) < 0, 0.25, 0.5)
synapse plastic
  message rate
  port p
  rule reciprocal
population A source 1
population B target 1
projection W plastic A -> B
output u = B.u
"""


def test_messages_between_processes_keep_the_sign_of_a_zero(monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    graph = parse_graph(SIGNED_ZERO).with_(arrays={"W.w": np.zeros((1, 1))})
    setup = Setup(graph, Protocol((Phase("all", 1, 3),), ("all",)), np.array([[-1.0]]))
    lava, interpreter = (next(trajectory(setup, ["W.increment"], on, "population")) for on in ("lava", "interpreter"))
    assert lava["W.increment"].ravel().tolist() == interpreter["W.increment"].ravel().tolist() == [0.25] * 3


@pytest.mark.parametrize("first, second", [("population", "network"), ("network", "area")])
def test_a_run_goes_on_at_another_granularity(first, second):
    program, protocol, samples, names = work("area")
    whole = Native(program, protocol, samples, [7])
    whole.run()
    program, protocol, samples, names = work(first)
    with LavaRun(program, protocol, samples, [7], block=10) as lava:
        lava.run(53)
        state = lava.state()
    program, protocol, samples, names = work(second)
    with LavaRun(program, protocol, samples, [7], block=10) as lava:
        lava.restore({key: value for key, value in state.items()})
        assert lava.run() == 130
        for name in names:
            assert np.array_equal(lava.records.rows("all", name), whole.records.rows("all", name)), name


def test_the_emitted_folder_runs_on_its_own_and_editing_it_changes_the_run(tmp_path):
    program, protocol, samples, _ = work("population")
    with LavaRun(program, protocol, samples, [7], folder=tmp_path) as lava:
        lava.run()
        before = lava.value("WPP_0.w")
    text = (tmp_path / "network_lava.py").read_text()
    assert "class HiddenPyramidal(AbstractProcess)" in text and "import cortexc.compiler" not in text
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "network_lava.py", "40"], cwd=tmp_path, env=environment, timeout=120,
                          capture_output=True, text=True)
    assert done.returncode == 0 and '"steps": 40' in done.stdout, done.stderr
    broken = text.replace("        self.end()", "        raise ValueError('planted')", 1)
    (tmp_path / "broken_lava.py").write_text(broken)
    done = subprocess.run([sys.executable, "broken_lava.py", "40"], cwd=tmp_path, env=environment, timeout=120,
                          capture_output=True, text=True)
    assert done.returncode == 3 and "raised an exception" in done.stderr and "host.py" not in done.stderr
    kernels = tmp_path / "kernels.py"
    kernels.write_text(kernels.read_text().replace("x = x + dw", "x = x - dw"))
    from cortexc.lava_procs.host import Host

    host = Host(tmp_path)
    try:
        host.run()
        after = host.value("WPP_0.w")
    finally:
        host.stop()
    assert not np.array_equal(before.ravel()[:4], after[:4])


def test_a_raising_process_is_one_coded_error(tmp_path):
    program, protocol, samples, _ = work("population")
    with LavaRun(program, protocol, samples, [7], folder=tmp_path) as lava:
        path = tmp_path / "network_lava.py"
        path.write_text(path.read_text().replace("        self.end()", "        raise ValueError('planted')", 1))
        with pytest.raises(CortexError, match="(?s)E701 .*planted") as error:
            lava.run()
    assert error.value.code == "E701"


def test_batches_of_seeds_run_as_one_network():
    from dataclasses import replace

    from cortexc.compiler.backends.lowering import lower

    graphs = [random_weights(build(replace(CIRCUIT, noise="counter")), seed) for seed in (3, 4, 5)]
    arrays = {name: np.stack([g.arrays[name] for g in graphs]) for name in graphs[0].arrays}
    phase = Phase("train", 4, 15, order="train", gates=tuple((g, (1.0,)) for g in LEARNING))
    protocol = Protocol((phase,), ("train", "train"))
    samples = np.random.default_rng(4).uniform(0, 1, (4, 5))
    batch = lower(graphs[0].with_(seeds=3, arrays=arrays))
    with LavaRun(batch, protocol, samples, [7, 8, 9], block=25) as lava:
        lava.run()
        together = lava.value("WPP_1.w")
    for index, (graph, seed) in enumerate(zip(graphs, (7, 8, 9), strict=True)):
        native = Native(lower(graph), protocol, samples, [seed])
        native.run()
        assert np.array_equal(native.value("WPP_1.w")[0], together[index])
