"""Random circuits, run on several backends: which quantities differ from the interpreter's, and where.

A circuit that a backend refuses with a code counts as refused; everything else must agree to the bit, not-a-number
with not-a-number. What a pass changes algebraically must agree to a part in 10^9.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.passes import Target, run_pipeline
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.hoist_constant_input import HoistConstantInput
from cortexc.compiler.verify.runs import Chunk, Setup, aligned, quantities, trajectory

ALGEBRAIC = 1e-9
"""Of a quantity's range: what passes that keep no bits may change."""
NO_LOWERING = "E50"
"""Begins the codes of what has no lowering on a backend."""


@dataclass(frozen=True)
class Difference:
    quantity: str
    step: int
    expected: np.ndarray
    got: np.ndarray

    def __str__(self) -> str:
        return f"{self.quantity} at step {self.step}: {self.got.tolist()} for {self.expected.tolist()}"


def bits(values: np.ndarray) -> np.ndarray:
    """The float64 bit patterns, with one pattern for every NaN."""
    values = np.ascontiguousarray(values, dtype=np.float64)
    return np.where(np.isnan(values), np.int64(-1), values.view(np.int64))


def watched(graph: Graph, increments: bool) -> list[str]:
    """Every quantity of the circuit, with what optimisers keep."""
    adam = [f"{q.name}.adam_{moment}" for q in graph.projections for moment in ("first", "second")
            if (rule := graph.rule_of(q)) and rule.optimiser.kind == "adam"]
    return quantities(graph, increments) + adam


def expected(setup: Setup, wanted: Sequence[str]) -> list[Chunk]:
    """The interpreter's trajectory."""
    return list(trajectory(setup, wanted, "interpreter"))


def differences(reference: Sequence[Chunk], other: Iterator[Chunk], tolerance: float = 0.0) -> Iterator[Difference]:
    """The first one of every quantity of both sides."""
    found: set[str] = set()
    for start, ours, theirs in aligned(iter(reference), other):
        for name in theirs.keys() & ours.keys() - found:
            wrong = _wrong(ours[name], theirs[name], tolerance)
            if wrong.any():
                found.add(name)
                step = int(np.argwhere(wrong)[0][0])
                yield Difference(name, start + step, ours[name][step], theirs[name][step])


def _wrong(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> np.ndarray:
    if ours.shape != theirs.shape:
        return np.ones((1, 1), bool)
    different = bits(ours) != bits(theirs)
    if not tolerance:
        return different
    scale = np.abs(ours[np.isfinite(ours)]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        return different & ~(np.abs(ours - theirs) <= tolerance * scale)


# ---- one circuit on one side


def outcome(setup: Setup, reference: Sequence[Chunk], wanted: Sequence[str], on: str = "native",
            granularity: str = "network", tolerance: float = 0.0) -> tuple[str, list[Difference]]:
    """("equal" | "different" | "refused: CODE", the differences)."""
    try:
        found = list(differences(reference, trajectory(setup, wanted, on, granularity), tolerance))
    except CortexError as error:
        if not error.code.startswith(NO_LOWERING):
            raise
        return f"refused: {error.code}", []
    return ("different" if found else "equal"), found


def outcome_of_passes(setup: Setup) -> tuple[str, list[Difference]]:
    """What `run` would lower, with only the outputs observed: they are compared."""
    observed = frozenset(quantity for _, quantity in setup.graph.outputs)
    graph = setup.graph.with_(projections=tuple(replace(q, lowering="") for q in setup.graph.projections))
    report = run_pipeline(graph, Request(observed), Target(hoist=HoistConstantInput(least_inputs=1)))
    inexact = [record.name for record in report.records if not record.keeps_bits]
    what, found = outcome(replace(setup, graph=report.graph), expected(setup, sorted(observed)), sorted(observed),
                          tolerance=ALGEBRAIC if inexact else 0.0)
    return (f"equal algebraically ({', '.join(inexact)})" if inexact and what == "equal" else what), found
