"""Kernels stay within their memory: every access of every kind of kernel, un-jitted, over random circuits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hostile_circuits import circuit, setup
from memory_watch import OutsideError, WatchedGroups, WatchedNative
from random_graphs.choices import Kinds, RandomChoices
from random_graphs.circuits import random_setup

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.ir import Graph, parse_graph
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.passes import Request
from cortexc.compiler.passes.hoist_constant_input import HoistConstantInput
from cortexc.compiler.passes.partition import Partition
from cortexc.compiler.verify import verify_setup
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.runs import Setup, compiled, interpreted, quantities, recording_protocol


@pytest.fixture(autouse=True, scope="module")
def kernels_as_plain_python():
    with plain_python():
        yield


def watched(case: Setup, granularity: str = "network", increments: bool = True) -> None:
    """Runs every step of a case, everything observed and recorded."""
    wanted = quantities(case.graph, increments)
    graph = Partition(granularity).apply(case.graph) if granularity != "network" else case.graph
    program = lower(graph, frozenset(wanted))
    kind = WatchedNative if granularity == "network" else WatchedGroups
    stored = tuple(name for name in wanted if name in program.slots.sizes)
    kind(program, recording_protocol(case.protocol, stored), case.samples, list(case.seeds), case.noise).run(block=5)


@pytest.mark.parametrize("seed", range(12))
def test_random_circuits(seed):
    case = random_setup(RandomChoices(1000 + seed))
    watched(case)
    watched(case, increments=False)


@pytest.mark.parametrize("seed", range(4))
def test_random_circuits_in_groups(seed):
    watched(random_setup(RandomChoices(2000 + seed), Kinds(fused=False)), "population")


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 150, 30))
def test_more_random_circuits(first):
    for seed in range(first, first + 30):
        watched(random_setup(RandomChoices(3000 + seed)), increments=bool(seed % 2))


MAPS = """
graph maps
  dt 1
  batch seeds {seeds} samples {samples}
  gate learn
  gate apply
cell source
  input value
  state trace = 0
  send trace = 0.5 * prev(trace) + 1
  send rate = value * trace
  message rate
cell unit
  port a
  state u = 0.1
  receive u = 0.5 * prev(u) + a
  factor e = u - prev(u)
  message u
rule hebb
  parameter eta 1 = 0.1
  increment eta * post.e * pre.rate
  optimiser {optimiser}
synapse up
  message rate
  port a
  connectivity {kind}
  rule hebb
  role {role}
synapse down
  message u
  port a
  connectivity transposed_{kind}
  role {role}
population image source 32
population maps unit {upper}
population back unit 32
projection K up image -> maps gate=learn apply=apply convolution={shape}
projection B down maps -> back convolution={shape}
"""


def maps(shape: str, kind: str, **options: object) -> Graph:
    graph = parse_graph(MAPS.format(shape=shape, kind=kind, **options))
    upper, size = tuple(map(int, shape.split("/")[1].split("x"))), int(shape.split("/")[2][0])
    weights = np.random.default_rng(0).uniform(-0.5, 0.5, (*(upper if kind == "local" else upper[:1]), 2, size, size))
    return graph.with_(arrays={"K.w": weights, "B.w": weights})


SHAPES = [("2x4x4/3x1x1/2,1,0,2", 3), ("2x4x4/3x4x4/3,1,1,1", 48), ("2x4x4/1x2x2/2,2,0,1", 4), ("2x4x4/9x1x1/4,1,0,1", 9),
          ("2x4x4/9x1x1/4,1,1,2", 9)]


@pytest.mark.parametrize("shape, upper", SHAPES)
@pytest.mark.parametrize("kind", ["convolution", "local"])
@pytest.mark.parametrize("optimiser, hoisted", [("accumulate()", True), ("clipped(0.1)", False), ("clipped(0.1)", True),
                                                ("adam(0.1, 0.9, 0.99, 0.001)", True), ("low_pass(0.5)", False)])
@pytest.mark.parametrize("samples, seeds, role", [(1, 1, "shared"), (9, 2, "per_seed")])
def test_feature_maps(shape, upper, kind, optimiser, samples, seeds, role, hoisted):
    graph = maps(shape=shape, upper=upper, kind=kind, optimiser=optimiser, samples=samples, seeds=seeds, role=role)
    graph = HoistConstantInput(1).apply(graph, Request()) if hoisted else graph
    watched(setup(graph, 3, 32), increments=False)


@pytest.mark.parametrize("shape, upper", SHAPES)
@pytest.mark.parametrize("kind", ["convolution", "local"])
@pytest.mark.parametrize("optimiser", ["clipped(0.1)", "low_pass(0.5)"])
def test_feature_maps_have_the_interpreters_bits(shape, upper, kind, optimiser):
    """A padded kernel that covers all of its pooled maps, too: its taps are as many as its cells, but others."""
    graph = maps(shape=shape, upper=upper, kind=kind, optimiser=optimiser, samples=2, seeds=1, role="shared")
    result = verify_setup(setup(graph, 4, 32), "native")
    assert result.passed and result.max_abs_error == 0, result.reasons


@pytest.mark.parametrize("size, batch", [(0, 1), (1, 1), (0, 20), (3, 16)])
@pytest.mark.parametrize("granularity", ["network", "population"])
def test_sizes_at_the_edge(size, batch, granularity):
    """Populations without cells, with one, and more copies of a weight than a padded row has room for."""
    graph = circuit({})
    populations = tuple(dataclasses.replace(p, size=size) for p in graph.populations)
    arrays = {name: np.zeros((size,) * array.ndim) if "table" not in name else array
              for name, array in graph.arrays.items()}
    arrays["hidden.tau"] = np.full(size, 3.0)
    graph = graph.with_(populations=populations, arrays=arrays, seeds=batch, synapses=tuple(
        dataclasses.replace(s, role="per_seed") for s in graph.synapses))
    watched(setup(graph, 7, size), granularity)


def test_the_watch_sees_what_is_outside():
    case = setup(circuit({}))
    program = lower(case.graph)
    run = WatchedNative(program, case.protocol, case.samples, [1])
    row = next(i for i, o in enumerate(program.step) if o.kernel.startswith("deliver"))
    run.kernels.table[row, 2] += 8
    with pytest.raises(OutsideError):
        run.run()


LOOKUP = """
graph tables
cell source
  input x
  send a = lookup(T, x)
  send b = interpolate(T, x)
  send c = lookup(T, x / 0)
population s source 1
"""
PLACES = [np.nan, np.inf, -np.inf, 1e300, -1e300, 2.0**63, 2.0**64, -2.0**63, -0.0, 5e-324, 0.5, 1.0, 3.999999, 4.0, 5.0, -1.0]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("jitted", [False, True])
def test_tables_at_any_place(size, jitted, monkeypatch):
    """An index that is no place of the table, or no whole number of 64 bits, is that of its nearest end."""
    graph = parse_graph(LOOKUP).with_(arrays={"table.T": np.arange(1.0, size + 1)})
    case = Setup(graph, Protocol((Phase("all", len(PLACES), 1),), ("all",)), np.array(PLACES)[:, None])
    wanted = ["s.a", "s.b", "s.c"]
    expected = np.concatenate([np.stack([c[n] for n in wanted]) for c in interpreted(case, wanted)], axis=1)
    if jitted:
        monkeypatch.setenv("CORTEXC_JIT", "1")
        found = np.concatenate([np.stack([c[n] for n in wanted]) for c in compiled(case, wanted, "native")], axis=1)
        assert np.array_equal(found, expected) and expected.min() >= 1 and expected.max() <= size
    else:
        watched(case)
