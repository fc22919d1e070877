"""Long delays and many populations: what grows with them, and the bits."""

from __future__ import annotations

import resource
from dataclasses import replace

import numpy as np
import pytest

import cortexc
from cortexc.compiler.backends.lowering import lower, storage
from cortexc.compiler.backends.lowering.c_module import c_source
from cortexc.compiler.backends.native import Grouped, Native
from cortexc.compiler.backends.rewritten import InterpreterRun
from cortexc.compiler.ir import Graph, parse_graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.compiler.passes.partition import Partition

CELLS = """
graph many
  gate learn
cell source
  input value
  state rate = 0
  send rate = value
  message rate
cell leaky
  port a
  state rate = 0.25
  state u = 0
  send rate = tanh(u_old)
  receive u = 0.5 * prev(u) + a
  factor slope = u - prev(u)
  message rate
rule r
  increment 0.1 * post.slope * prev(pre.rate)
synapse p
  message rate
  port a
synapse plastic
  message rate
  port a
  rule r
""".replace("tanh(u_old)", "tanh(prev(u)) + 0.125 * prev(rate)")


def delayed(*delays: int) -> Graph:
    names = range(len(delays))
    text = CELLS + "population input source 2\npopulation a leaky 3\npopulation b leaky 5\nprojection W p input -> a\n" + "".join(
        f"projection Q{i} {'plastic' if i % 2 else 'p'} {'ab'[i % 2]} -> {'ba'[i % 2]} delay={d}{' gate=learn' if i % 2 else ''}\n"
        for i, d in zip(names, delays, strict=True))
    rng = np.random.default_rng(1)
    sizes = {"input": 2, "a": 3, "b": 5}
    graph = parse_graph(text)
    return graph.with_(arrays={f"{q.name}.w": rng.normal(0, 0.5, (sizes[q.post], sizes[q.pre])) for q in graph.projections})


def runs(graph: Graph, steps: int, *kinds: type) -> list[dict[str, np.ndarray]]:
    names = ("a.u", "b.u", "a.rate")
    phase = Phase("all", steps, 1, gates=(("learn", (1.0, 0.0, 1.0)),), records=(("s", Record(every=1)),))
    protocol = Protocol((phase,), ("all",), (Stream("s", names),))
    samples, found = np.random.default_rng(2).normal(size=(steps, 2)), []
    for kind in kinds:
        partitioned = Partition("population" if kind is Grouped else "network").apply(graph)
        lowered = partitioned if kind is InterpreterRun else lower(partitioned, frozenset(names))
        run = kind(lowered, protocol, samples, [1])
        for _ in range(0 if kind is Grouped else 3):  # a run that is interrupted, restored and goes on
            run.run(steps // 3)
            state, run = run.state(), kind(lowered, protocol, samples, [1])
            run.restore(state)
        run.run()
        found.append({n: run.records.rows("s", n) for n in names} | {q.name: run.value(f"{q.name}.w") for q in graph.projections})
    return found


@pytest.mark.parametrize("jit", ["0", "1"])
@pytest.mark.parametrize("delays", [(3, 1, 7), (4, 6, 2, 5), (1, 9)])
def test_a_ring_has_the_bits_of_slots_and_of_the_interpreter(delays, jit, monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", jit)
    graph = delayed(*delays)
    expected, slots = runs(graph, 40, InterpreterRun, Native)
    monkeypatch.setattr(storage, "NEAR", 1)
    rings = runs(graph, 40, Native, Grouped)
    assert any("#ring" in name for name in lower(graph).slots.sizes)
    for found in (slots, *rings):
        assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_a_delay_of_thousands_of_steps_costs_no_code():
    graph = delayed(5000, 3)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    expected, found = runs(graph, 5010, InterpreterRun, Native)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 3.0, "seconds in the C compiler"
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    seen = found["b.u"]
    assert np.array_equal(seen[4980], seen[4998]) and not np.array_equal(seen[4980], seen[5005])
    assert len(lower(graph).source) < 1.2 * len(lower(delayed(50, 3)).source)


def chain(count: int, size: int = 4, more: int = 0) -> Graph:
    sizes = {"input": 2, **{f"p{i}": size + i * more for i in range(count)}}
    text = CELLS + "population input source 2\n" + "".join(f"population p{i} leaky {sizes[f'p{i}']}\n" for i in range(count))
    text += "".join(f"projection Q{i} plastic {f'p{i - 1}' if i else 'input'} -> p{i} gate=learn\n" for i in range(count))
    graph, rng = parse_graph(text), np.random.default_rng(1)
    return graph.with_(arrays={f"{q.name}.w": rng.normal(0, 0.5, (sizes[q.post], sizes[q.pre])) for q in graph.projections})


def functions(graph: Graph) -> int:
    program = lower(graph)
    return c_source(program, [program.select()], whole=True).count(" void ")


def test_code_does_not_grow_with_the_number_of_populations():
    assert functions(chain(40)) == functions(chain(20))
    assert functions(chain(90, 9, 1)) - functions(chain(60, 9, 1)) < 15, "those of other widths"


@pytest.mark.parametrize("more", [0, 1])
def test_many_populations_have_the_bits_of_the_interpreter(more):
    graph = chain(24, 3, more)
    given = {"inputs": {"input.value": 1.0}, "gates": {"learn": 1.0}, "record": ["p23.u", "Q23.w"]}
    one, other = (cortexc.simulate(graph, 30, backend=b, **given) for b in ("interpreter", "native"))
    assert all(np.array_equal(one[n], other[n]) for n in given["record"]) and one["p23.u"].any()


def test_no_function_is_shared_by_other_lengths():
    """Ten populations of ten sizes, of which one is large: each sum is its own."""
    graph = chain(10, 3, 1)
    graph = graph.with_(populations=tuple(replace(p, size=40) if p.name == "p4" else p for p in graph.populations))
    rng, size = np.random.default_rng(1), {p.name: p.size for p in graph.populations}
    graph = graph.with_(arrays={f"{q.name}.w": rng.normal(0, 0.5, (size[q.post], size[q.pre])) for q in graph.projections})
    given = {"inputs": {"input.value": 1.0}, "gates": {"learn": 1.0}, "record": ["p9.u", "Q5.w"]}
    one, other = (cortexc.simulate(graph, 30, backend=b, **given) for b in ("interpreter", "native"))
    assert all(np.array_equal(one[n], other[n]) for n in given["record"])
