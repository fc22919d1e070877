"""What was not 0 in an experiment and becomes 0 in fixed point: arrays, increments, and what is sent.

Arrays are counted whole when formats are applied. Whether any increment can reach its weight follows from the ranges of
the calibration run; how many do not is sampled in that run, and counted in the run itself with `precision.count`.

E620 weights or other arrays, E621 increments, E622 what a cell sends, takes in or offers to rules: warnings above the
shares below.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cortexc.compiler.ir import Expression, Graph, Projection
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.errors import CortexWarning
from cortexc.compiler.ir.expressions import Binary, Call, Name, Negate, Number, Prev, Where
from cortexc.compiler.ir.model import State
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.passes.fixed_point import COMPARISONS
from cortexc.compiler.passes.widths import NONZERO, TAGGED, UNDERFLOWED, formats_of, least_step

KINDS = {
    "array": (0.1, "E620", "Give more bits (precision.weights), a format of its own (precision.formats), or a unit per "
                           "group of synapses (precision.groups=\"auto\")."),
    "increments": (0.9, "E621", "Round at random (precision.rounding=\"stochastic\"), give more bits "
                                "(precision.weights, precision.tags), or finer units (precision.formats)."),
    "signal": (0.9, "E622", "Give more bits (precision.messages, precision.factors), or finer units "
                            "(precision.formats).")}
"""Kind -> the share of non-zero values above which a warning says that they become 0, its code and its hint."""
SIZE_SHARE = 0.5
"""Of increments that were sampled, those that become 0 must also make up more than this share of all change."""
LISTED = 0.01
"""Shares from this on are named in the summary of a run; all are in its results."""
BOUNDED = ("abs", "min", "max", "clip", "relu", "linear")
"""Functions whose result is no larger than their largest argument."""


@dataclass(frozen=True)
class Underflow:
    """What of one quantity becomes 0. `kind`: `array`, the `increments` of a weight or a tag, or a `signal` of a cell;
    `zero` of `of` non-zero values (None where `largest`, the greatest magnitude, says that all of them do); `basis`:
    all values of an `array`, the `range` of the calibration run, samples of that `calibration`, or counts of the `run`;
    `size`: of samples, the share in the sum of all magnitudes."""

    quantity: str
    kind: str
    share: float
    zero: int | None
    of: int | None
    unit: float
    largest: float
    basis: str
    size: float | None = None

    @property
    def loud(self) -> bool:
        """Whether it is more than may go without a warning."""
        return self.share > KINDS[self.kind][0] and (self.size is None or self.size > SIZE_SHARE)

    @property
    def text(self) -> str:
        what = f"increments of {self.quantity}" if self.kind == "increments" else self.quantity
        count = "all" if self.zero is None else f"{self.zero:,} of {self.of:,} ({100 * self.share:.3g} %)"
        return f"{what} {count}{', sampled' if self.basis == 'calibration' else ''}"

    def warning(self) -> CortexWarning:
        limit, code, hint = KINDS[self.kind]
        if self.zero is None:
            return CortexWarning(code, f"no increment ever reaches '{self.quantity}': the largest in the calibration "
                                       f"run is {self.largest:.3g}, {self.largest / self.unit:.3g} of its unit "
                                       f"{self.unit:.3g}.", hint)
        what, why = ("increments", "became 0, its unit is") if self.kind == "increments" else (
            "values", "became 0, below half its unit")
        sampled = "sampled " if self.basis == "calibration" else ""
        return CortexWarning(code, f"{self.zero:,} of {self.of:,} {sampled}non-zero {what} of '{self.quantity}' "
                                   f"({100 * self.share:.3g} %) {why} {self.unit:.3g}; the limit is "
                                   f"{100 * limit:.0f} %.", hint)


def announce(found: Iterable[Underflow], said: Iterable[Underflow] = ()) -> None:
    """A Python warning for everything that is loud, unless the same quantity was in what has been `said`."""
    before = {(each.kind, each.quantity) for each in said if each.loud}
    for each in found:
        if each.loud and (each.kind, each.quantity) not in before:
            warnings.warn(each.warning(), stacklevel=3)


def merged(known: Iterable[Underflow], counts: Sequence[Underflow]) -> list[Underflow]:
    """What was known before the run and what it counted, which stands for what was said of the same quantity."""
    better = {(each.kind, each.quantity) for each in counts}
    return [*(each for each in known if (each.kind, each.quantity) not in better), *counts]


# ---- arrays


def zeroed_arrays(before: Graph, after: Graph) -> list[Underflow]:
    """Every array of which something non-zero became 0 in the quantised graph; pairs without a synapse aside."""
    formats, found = dict(formats_of(after)), []
    for name, array in before.arrays.items():
        held = after.arrays.get(name)
        counted = _joined(before, name) * np.asarray(array) != 0
        if held is None or held.shape != array.shape or not counted.any():
            continue
        zero, of = int((counted & (held == 0)).sum()), int(counted.sum())
        least = np.abs(held[held != 0], dtype=np.float64).min(initial=np.inf)
        unit = formats[name][0].unit if name in formats else float(least)
        if zero:
            found.append(Underflow(name, "array", zero / of, zero, of, unit, 0.0, "array"))
    return found


def _joined(graph: Graph, name: str) -> np.ndarray:
    """Where a projection of this array has synapses; 1 for other arrays."""
    owner = next((q for q in graph.projections if name == f"{q.name}.w"), None)
    mask = connection_mask(graph, owner) if owner else None
    return np.ones(()) if mask is None else mask


# ---- what a run counted


def counted(graph: Graph, read: Callable[[str], np.ndarray]) -> list[Underflow]:
    """What the states of `count-underflow` say of signals and increments, by the names that `read` knows."""
    units = {name: found.unit for name, (found, _) in formats_of(graph)}
    found = [_counted(f"{p.name}.{name}", f"{p.name}.{name}", "signal", units, read) for p in graph.populations
             for name in _tallied(graph.cell(p.cell).states)]
    for q in graph.projections:
        rule = graph.rule_of(q)
        for name in _tallied(rule.states if rule else ()):
            what = f"{q.name}.{'w' if name == 'increment' else name}"
            found.append(_counted(f"{q.name}.{name}", what, "increments", units, read, _joined(graph, f"{q.name}.w")))
    return [each for each in found if each.zero]


def _tallied(states: Iterable[State]) -> list[str]:
    return [s.name.removesuffix(UNDERFLOWED) for s in states if s.name.endswith(UNDERFLOWED)]


def _counted(name: str, quantity: str, kind: str, units: Mapping[str, float], read: Callable[[str], np.ndarray],
             joined: np.ndarray | float = 1.0) -> Underflow:
    zero, of = (int((read(f"{name}{end}") * joined).sum()) for end in (UNDERFLOWED, NONZERO))
    return Underflow(quantity, kind, zero / of if of else 0.0, zero, of, units[quantity], 0.0, "run")


# ---- increments, by their range


def out_of_reach(before: Graph, after: Graph, protocol: Protocol, peaks: Mapping[str, float],
                 rounding: str) -> list[Underflow]:
    """Weights and tags that no increment can move: the largest that the calibration run's ranges allow is too small."""
    units, found = {name: held.unit for name, (held, _) in formats_of(after)}, []
    gates: dict[str, float] = {}
    for gate, pattern in (column for phase in protocol.phases for column in phase.gates):
        gates[gate] = max(gates.get(gate, 0.0), *pattern)
    for q in before.projections:
        for name, most in _largest_changes(before, q, peaks, gates):
            unit = units.get(name)
            if unit and 0 < most < least_step(rounding) * unit:
                found.append(Underflow(name, "increments", 1.0, None, None, unit, most, "range"))
    return found


def _largest_changes(graph: Graph, q: Projection, peaks: Mapping[str, float],
                     gates: Mapping[str, float]) -> list[tuple[str, float]]:
    """(weight or tag, the greatest magnitude of what is added to it in one step). `gates`: their greatest values."""
    rule = graph.rule_of(q)
    if rule is None:
        return []
    owners = {"pre": q.pre, "post": q.post}

    def peak(name: str) -> float:
        side, _, quantity = name.partition(".")
        if side == "gate":
            return gates.get(quantity, 0.0)
        return peaks.get(f"{owners.get(side, q.name)}.{quantity or name}", np.inf)

    kind, most = rule.optimiser.kind, largest(rule.increment, peak)
    if kind not in TAGGED:
        return [(f"{q.name}.w", most)]
    held = peaks[f"{q.name}.{kind}"]
    if kind == "low_pass":
        return [(f"{q.name}.tag", largest(rule.optimiser.arguments[0], peak) * most), (f"{q.name}.w", held)]
    return [(f"{q.name}.tag", most), (f"{q.name}.w", held + most)]


def largest(expression: Expression, peak: Callable[[str], float]) -> float:
    """A bound of an expression's magnitude, from those of what it reads."""
    match expression:
        case Number(value):
            return abs(value)
        case Name(name) | Prev(name, _):
            return peak(name)
        case Negate(operand):
            return largest(operand, peak)
        case Binary("+" | "-", left, right):
            return largest(left, peak) + largest(right, peak)
        case Binary("*", left, right):
            return largest(left, peak) * largest(right, peak)
        case Binary(operator) if operator in COMPARISONS:
            return 1.0
        case Where(_, then, otherwise):
            return max(largest(then, peak), largest(otherwise, peak))
        case Call(function, arguments) if function in BOUNDED:
            return max(largest(each, peak) for each in arguments)
    return float("inf")
