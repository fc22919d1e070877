"""Circuits that are fed with nothing, populations without cells or with one, runs without steps: on every backend."""

from __future__ import annotations

import numpy as np
import pytest

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.backends.rewritten import InterpreterRun
from cortexc.compiler.ir import CortexError, parse_graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.compiler.passes.partition import Partition
from cortexc.compiler.verify import Setup, verify_setup
from cortexc.compiler.verify.mutation.campaign import plain_python

ALONE = """
graph alone
  dt 1
cell oscillator
  port p
  state u = 1
  state v = 0
  receive u = prev(u) - 0.1 * prev(v) + p
  receive v = prev(v) + 0.1 * u
  message u
rule hebb
  increment 0.01 * post.v * prev(pre.u)
synapse coupling
  message u
  port p
  rule hebb
population n oscillator 3 area=L23
population lone oscillator 1 area=L4
population none oscillator 0 area=L5
projection W coupling n -> lone
projection E coupling none -> n
projection F coupling n -> none
output u = n.u
"""
EMPTY = ALONE.replace("graph alone", "graph empty") + """
cell source
  input x
  state r = 0.5
  send r = x
  message r
synapse feed
  message r
  port p
population s source {size}
projection A feed s -> lone
"""


def case(text: str, width: int = 0, steps: int = 9) -> Setup:
    graph = parse_graph(text)
    sizes = {p.name: p.size for p in graph.populations}
    arrays = {f"{q.name}.w": np.full((sizes[q.post], sizes[q.pre]), 0.2) for q in graph.projections}
    protocol = Protocol((Phase("all", steps, 1),), ("all",))
    return Setup(graph.with_(arrays=arrays), protocol, np.ones((steps, width)))


CASES = {"no input": case(ALONE), "an empty input": case(EMPTY.format(size=0)), "one cell": case(EMPTY.format(size=1), 1)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("granularity", ["network", "area", "population"])
def test_native(name, granularity):
    with plain_python():
        result = verify_setup(CASES[name], "native", granularity)
    assert result.passed and result.max_abs_error == 0 and len(result.variables) > 6, result.reasons


@pytest.mark.lava
@pytest.mark.parametrize("name, granularity", [("no input", "population"), ("an empty input", "population"),
                                               ("an empty input", "area"), ("an empty input", "network"),
                                               ("no input", "network")])
def test_lava(name, granularity):
    with plain_python():
        result = verify_setup(CASES[name], "lava", granularity)
    assert result.passed and result.max_abs_error == 0, result.reasons


def recorded(setup: Setup, kind: str) -> np.ndarray:
    phase = Phase("all", setup.steps, 1, records=(("r", Record(every=1)),))
    protocol = Protocol((phase,), ("all",), (Stream("r", ("n.u",)),))
    arguments = (protocol, setup.samples, [1])
    run = InterpreterRun(setup.graph, *arguments) if kind == "interpreter" else Native(
        lower(setup.graph, frozenset({"n.u"})), *arguments)
    run.run()
    return run.records.rows("r", "n.u")


@pytest.mark.parametrize("steps", [0, 1, 9])
@pytest.mark.parametrize("name", ["no input", "an empty input"])
def test_runs(name, steps):
    setup = Setup(CASES[name].graph, Protocol((Phase("all", steps, 1),), ("all",)), np.zeros((steps, 0)))
    with plain_python():
        found = [recorded(setup, kind) for kind in ("interpreter", "native")]
    assert found[0].shape == (steps, 1, 3) and np.array_equal(*found)


def test_nothing_at_all_to_compute():
    """No quantity is read or observed: the program has no operation, and still a group."""
    graph = parse_graph("graph g\ncell c\n  input x\n  send r = x\npopulation a c 2\n")
    program = lower(Partition("population").apply(graph))
    assert program.groups
    with plain_python():
        assert Native(program, Protocol((Phase("all", 2, 1),), ("all",)), np.zeros((2, 2)), [1]).run() == 2


# ---- what does not fit is said before the first step


PHASE = Phase("all", 9, 1)


@pytest.mark.parametrize("samples, phase, code", [
    (np.ones((9, 2)), PHASE, "E276"), (np.ones((8, 1)), PHASE, "E276"), (np.ones(8), PHASE, "E276"),
    (np.ones((9, 1)), Phase("all", 9, 1, first=(1,)), "E276"), (np.ones((9, 1)), Phase("all", 9, 1, first=(-1,)), "E276"),
    (np.ones((9, 1)), Phase("all", 9, 1, first=(0, 0)), "E276"), (np.ones((9, 1)), Phase("all", 9, 1, first=()), "E276"),
    (np.ones((9, 1)), Phase("all", 2, 1, rows=10), "E276"),
    (np.ones((9, 1)), Phase("all", 9, 1, records=(("r", Record(steps=(3, 2))),)), "E275"),
    (np.ones((9, 1)), Phase("all", 9, 1, records=(("r", Record(every=-1))),), "E275"),
    (np.ones((9, 1)), Phase("all", 3, 3, records=(("r", Record(at=(0, 3))),)), "E275"),
    (np.ones((9, 1)), Phase("all", 3, 3, records=(("r", Record(steps=(0, 9))),)), "E275"),
    (np.ones((9, 1)), Phase("all", 9, 1, records=(("r", Record(every=1, offset=-3))),), "E275")])
@pytest.mark.parametrize("kind", ["interpreter", "native"])
def test_samples_and_phases(samples, phase, code, kind):
    phase = phase if not phase.records or isinstance(phase.records[0], tuple) else Phase(
        "all", 9, 1, records=(phase.records,))
    setup = CASES["one cell"]
    protocol = Protocol((phase,), ("all",), (Stream("r", ("n.u",)),))
    with plain_python(), pytest.raises(CortexError) as caught:
        if kind == "interpreter":
            InterpreterRun(setup.graph, protocol, samples, [1])
        else:
            Native(lower(setup.graph, frozenset({"n.u"})), protocol, samples, [1])
    assert caught.value.code == code


def test_seeds_gates_and_draws():
    graph = parse_graph("graph g\n  gate l\n  noise recorded\ncell c\n  noise z normal\n  state r = 0\n  send r = z\n"
                        "population a c 2\n")
    program = lower(graph, frozenset({"a.r"}))
    protocol = Protocol((Phase("all", 3, 1),), ("all",))
    silent = Protocol((Phase("all", 3, 1, gates=(("l", ()),)),), ("all",))
    none = np.zeros((3, 0))
    with plain_python():
        for arguments, code in (((protocol, none, [1, 2], None), "E278"), ((protocol, none, [1], None), "E277"),
                                ((protocol, none, [1], np.ones((2, 2))), "E277"), ((protocol, none, [1], np.ones((3, 1))), "E277"),
                                ((protocol, none, [1], np.ones(3)), "E277"), ((silent, none, [1], np.ones((3, 2))), "E275")):
            with pytest.raises(CortexError) as caught:
                Native(program, *arguments)
            assert caught.value.code == code
        assert Native(program, protocol, none, [1], np.ones((3, 2))).run() == 3
