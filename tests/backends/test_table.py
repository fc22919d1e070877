"""A backend is a line of the table: `simulate` and `verify` run it by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

import cortexc
from cortexc.compiler.backends.blocks import FIRST_STEPS, Blocks, Pace
from cortexc.compiler.backends.rewritten import InterpreterRun
from cortexc.compiler.backends.table import BACKENDS, Given, Runner, Work
from cortexc.compiler.experiments.tables import Run
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.verify import Setup, trajectory
from cortexc.compiler.verify.mutation.campaign import plain_python

GRAPH = cortexc.parse_graph("""
graph two
cell leaky
  port a
  input x
  state u = 1
  receive u = 0.5 * prev(u) + x + a
  message u
synapse dense
  message u
  port a
population one leaky 2
population other leaky 3
projection W dense one -> other
output u = other.u
""").with_(arrays={"W.w": np.arange(6.0).reshape(3, 2)})


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> str:
    """One more backend: the interpreter under another name."""

    def start(work: Work, given: Given, folder: Path | None = None, block_ms: float = 0.0) -> Runner:
        return InterpreterRun(work.graph, *given)

    monkeypatch.setitem(BACKENDS, "mine", start)  # type: ignore[arg-type]
    return "mine"


def test_one_more_backend_is_one_more_line(mine: str) -> None:
    options: dict[str, Any] = {"inputs": {"one.x": 0.25}, "record": ["other.u"]}
    found, expected = (cortexc.simulate(GRAPH, 5, backend=name, **options) for name in (mine, "interpreter"))
    np.testing.assert_array_equal(found["other.u"], expected["other.u"])
    setup = Setup(GRAPH, Protocol((Phase("all", 5, 1),), ("all",)), np.ones((5, 5)))
    with plain_python():
        ours, theirs = (next(trajectory(setup, ["other.u", "W.w"], name)) for name in (mine, "interpreter"))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_experiments_name_the_same_backends() -> None:
    assert set(get_args(get_type_hints(Run)["backend"])) == set(BACKENDS)


def test_calls_aim_at_a_duration_in_whole_units() -> None:
    blocks = Blocks(Pace(most=100_000, unit=300, seconds=0.5), 50.0)
    assert blocks.steps == 300 and Blocks(Pace(10**6), 50.0).steps == FIRST_STEPS
    blocks.took(0.25)
    assert blocks.steps == 600
    for _ in range(20):
        blocks.took(0.001)
    assert blocks.steps == 99_900
    for _ in range(20):
        blocks.took(50.0)
    assert blocks.steps == 300
