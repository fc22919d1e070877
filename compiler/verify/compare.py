"""Comparison of two trajectories, chunk by chunk, by limits that small quantities cannot slip under.

A variable passes when its largest error is at most 1e-10 and at most 1e-8 of its range over the run: the largest
movement of one of its components, its magnitude where it stays constant, and no relative limit where it is zero
throughout. In single precision the limit is 1e-4 of the range, and 1e-6 where it is zero. An error that is not a number
is infinite. Integers must be equal. A variable may have a limit of its own instead, and errors may be relative to each
expected value.

What was found has a word of its own (`OUTCOMES`); only `verified` passes. `nothing-learnt`: all variables agree, but
no weight moved although a learning gate was on, so learning was not tested. `nothing-compared`: the sides have no
variable in common. `not-a-number`: they agree, but on a value that is infinite or not a number. `incomplete`: one
side ended early.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from cortexc.compiler.ir import CortexError

OUTCOMES = ("diverged", "not-a-number", "incomplete", "nothing-compared", "nothing-learnt", "verified")
"""What a verification may find, the worst first."""


class Limits(NamedTuple):
    """How large an error may be, in itself and in terms of the variable's range; `at_zero`: of what is zero throughout.
    """

    absolute: float
    relative: float
    at_zero: float

    def of(self, scale: float) -> float:
        return min(self.absolute, self.relative * scale) if scale > 0 else self.at_zero


DOUBLE, SINGLE, EXACT = Limits(1e-10, 1e-8, 1e-10), Limits(math.inf, 1e-4, 1e-6), Limits(0.0, 0.0, 0.0)
"""Of float64; of float32, whose steps are 6e-8 of a value; of integers."""
CONSTANT = 8 * np.finfo(np.float64).eps
"""A movement below this share of the magnitude is rounding: the variable counts as constant."""


@dataclass(frozen=True)
class Divergence:
    """The first value outside the limits: 0-based step, and index in the variable's array of that step."""

    step: int
    variable: str
    index: tuple[int, ...]
    got: float
    expected: float


@dataclass(frozen=True)
class Errors:
    """Largest errors of a variable over the run; `rel` is relative to `scale`, 0 where the variable is zero."""

    abs: float
    rel: float
    scale: float


@dataclass(frozen=True)
class Result:
    """What a verification found. `reasons` say why it failed; `not_compared` names what one side did not have.

    `line`: what was looked at; `passes`: what made it of the graph. `compared_steps`: at how many of the `steps`
    something was compared. Of several `lines` this is the sum: the worst outcome, the largest errors; of several
    `granularities` the worst.
    """

    outcome: str
    evidence: str
    steps: int
    variables: dict[str, Errors]
    first_divergence: Divergence | None = None
    reasons: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    on: str = ""
    granularity: str = ""
    line: str = "as-written"
    passes: tuple[str, ...] = ()
    compared_steps: int = 0
    lines: tuple[Result, ...] = ()
    granularities: tuple[Result, ...] = ()
    precision: Limits = DOUBLE

    @property
    def passed(self) -> bool:
        return self.outcome == OUTCOMES[-1]

    @property
    def max_abs_error(self) -> float:
        return max((e.abs for e in self.variables.values()), default=0.0)

    @property
    def max_rel_error(self) -> float:
        return max((e.rel for e in self.variables.values()), default=0.0)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a number that is not finite becomes None."""
        several = {"granularities": [each.as_dict() for each in self.granularities]} if self.granularities else {}
        return {**self._table(), "lines": [line._table() for line in self.lines or (self,)], **several}

    def _table(self) -> dict[str, Any]:
        where = self.first_divergence
        return {
            "passed": self.passed, "outcome": self.outcome, "line": self.line, "passes": list(self.passes),
            "evidence": self.evidence, "max_abs_error": finite(self.max_abs_error),
            "max_rel_error": finite(self.max_rel_error),
            "limits": {name: finite(limit) for name, limit in self.precision._asdict().items()}, "steps": self.steps,
            "compared_steps": self.compared_steps,
            "variables": {name: {"abs": finite(e.abs), "rel": finite(e.rel)} for name, e in self.variables.items()},
            "first_divergence": None if where is None else {
                "step": where.step, "variable": where.variable, "index": list(where.index),
                "got": finite(where.got), "expected": finite(where.expected)},
            "reasons": list(self.reasons), "not_compared": list(self.not_compared), "on": self.on,
            "granularity": self.granularity}


def worst(results: Sequence[Result]) -> Result:
    """The first of those with the worst outcome."""
    return min(results, key=lambda result: OUTCOMES.index(result.outcome))


def together(lines: Sequence[Result]) -> Result:
    """One result of several lines: the first one's names, the worst outcome, every variable's largest error."""
    first, found = lines[0], worst(lines)
    errors = dict(first.variables)
    for line in lines[1:]:
        for name, error in line.variables.items():
            errors[name] = max(errors.get(name, error), error, key=lambda e: e.abs)
    reasons = dict.fromkeys(f"{line.line}: {reason}" for line in lines for reason in line.reasons)
    return replace(first, outcome=found.outcome, variables=errors, first_divergence=found.first_divergence,
                   reasons=tuple(reasons), lines=tuple(lines))


def finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass
class Track:
    """One variable so far. `growth`: every error that was the largest yet, so the first beyond any limit is here."""

    low: np.ndarray
    high: np.ndarray
    got_low: np.ndarray
    got_high: np.ndarray
    precision: Limits = DOUBLE
    own: float | None = None
    worst: float = 0.0
    absolute: float = 0.0
    relative: bool = False
    compared: int = 0
    growth: list[tuple[float, Divergence]] = field(default_factory=list)

    @property
    def span(self) -> float:
        return _largest(self.high - self.low)

    @property
    def moved(self) -> bool:
        return _largest(self.got_high - self.got_low) > 0

    @property
    def scale(self) -> float:
        """What errors are relative to; 0 where the variable is zero throughout."""
        magnitude = max(_largest(np.abs(self.high)), _largest(np.abs(self.low)))
        return self.span if self.span > CONSTANT * magnitude else magnitude

    @property
    def limit(self) -> float:
        return self.precision.of(self.scale) if self.own is None else self.own

    def errors(self) -> Errors:
        if self.relative:
            return Errors(self.absolute, self.worst, self.scale)
        return Errors(self.worst, self.worst / self.scale if self.scale > 0 else 0.0, self.scale)

    def first_beyond(self) -> Divergence | None:
        return next((where for error, where in self.growth if error > self.limit), None)


def _largest(values: np.ndarray) -> float:
    return float(values.max()) if values.size else 0.0


class Comparison:
    """Collects chunks of two trajectories. `order`: variables in the order in which a step computes them, so that
    of several divergences in one step the first is named. `plastic`: weights whose gate is on at some step. `limits`:
    of variables that have one of their own."""

    def __init__(self, order: Sequence[str] = (), plastic: Sequence[str] = (), precision: Limits = DOUBLE,
                 limits: Mapping[str, float] = MappingProxyType({})):
        self.precision, self.limits = precision, limits
        self.rank = {name: i for i, name in enumerate(order)}
        self.plastic = [name for name in plastic]
        self.tracks: dict[str, Track] = {}
        self.steps = self.compared_steps = 0

    def add(self, got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
        """Arrays (K, ...) of the next K steps; only variables of both sides count."""
        there = {name: np.asarray(values, np.float64) for name, values in expected.items() if name in got}
        count = max(map(len, there.values()), default=0)
        for name, values in there.items():
            self.compare(name, range(self.steps, self.steps + len(values)), np.asarray(got[name], np.float64), values)
        self.see(there, count)
        self.compared_steps += count

    def see(self, expected: Mapping[str, np.ndarray], count: int) -> None:
        """What is expected of the next `count` steps, for the range of every variable."""
        for name, values in expected.items():
            if values.size:
                track = self._track(name, values)
                _widen(track.low, track.high, values)
        self.steps += count

    def add_constant(self, name: str, got: np.ndarray, expected: np.ndarray) -> None:
        """A value that holds for the whole run."""
        self.compare(name, [self.steps], got[None], expected[None])
        self.see({name: expected[None]}, 0)

    def compare(self, name: str, steps: Sequence[int], got: np.ndarray, expected: np.ndarray,
                unit: np.ndarray | None = None) -> None:
        """A variable in rising `steps` (0-based); `see` has to be told what is expected of it in all of them. `unit`:
        what every error is relative to."""
        if got.shape != expected.shape:
            raise CortexError("V125", f"variable '{name}' has shape {got.shape[1:]} per step, expected "
                                      f"{expected.shape[1:]} ({len(got)} and {len(expected)} steps).")
        if not expected.size:
            return
        track = self._track(name, expected)
        _widen(track.got_low, track.got_high, got)
        with np.errstate(invalid="ignore"):
            error = np.abs(got - expected)
        error = np.where(np.isnan(error), np.inf, error).reshape(len(error), -1)
        if unit is not None:
            track.relative, track.absolute = True, max(track.absolute, _largest(error))
            error = error / unit.reshape(len(error), -1)
        self._note_growth(name, track, error, got, expected, steps)

    def _track(self, name: str, expected: np.ndarray) -> Track:
        if name not in self.tracks:
            low, high = (np.full(expected.shape[1:], value) for value in (np.inf, -np.inf))
            self.tracks[name] = Track(low, high, low.copy(), high.copy(), self.precision, self.limits.get(name))
        return self.tracks[name]

    def _note_growth(self, name: str, track: Track, error: np.ndarray, got: np.ndarray, expected: np.ndarray,
                     steps: Sequence[int]) -> None:
        largest = error.max(1)
        before = np.maximum.accumulate(np.concatenate(([track.worst], largest[:-1])))
        for k in np.flatnonzero(largest > before):
            index = np.unravel_index(int(error[k].argmax()), got.shape[1:])
            place = (k, *index)
            where = Divergence(int(steps[int(k)]), name, tuple(map(int, index)), float(got[place]),
                               float(expected[place]))
            track.growth.append((float(largest[k]), where))
        track.worst = max(track.worst, float(largest.max()))
        track.compared += len(steps)

    @property
    def hopeless(self) -> bool:
        """Whether some error is beyond the absolute limit, so that no further step can save the comparison."""
        most = max(self.precision.absolute, self.precision.at_zero)
        return any(track.worst > (most if track.own is None else track.own) for track in self.tracks.values())

    def first_divergence(self) -> Divergence | None:
        """The earliest; within its step, the one computed first."""
        return min(self._beyond(), key=lambda d: (d.step, self.rank.get(d.variable, len(self.rank))), default=None)

    def _beyond(self) -> list[Divergence]:
        return [where for track in self.tracks.values() if (where := track.first_beyond())]

    def findings(self) -> list[tuple[str, str]]:
        """(outcome, why) of all that speaks against `verified`."""
        found = []
        if not self.compared:
            found.append(("nothing-compared", f"no variable was compared over {self.steps} steps"))
        if where := self.first_divergence():
            both = all(not math.isfinite(d.got) and not math.isfinite(d.expected) for d in self._beyond())
            found.append(("not-a-number" if both else "diverged", f"'{where.variable}'{list(where.index)} is "
                          f"{where.got!r} at step {where.step}, expected {where.expected!r}"))
        found += [("diverged", f"weights '{name}' never moved although their gate was on and the expected ones did")
                  for name in self.plastic if name in self.compared and self._stuck(self.tracks[name])]
        return found

    @property
    def compared(self) -> set[str]:
        """Variables of which some value was compared."""
        return {name for name, track in self.tracks.items() if track.compared}

    def _stuck(self, track: Track) -> bool:
        return track.span > 0 and not track.moved

    @property
    def nothing_learnt(self) -> bool:
        """Whether some weight's gate was on and no such weight moved in the expected trajectory."""
        learning = [self.tracks[name] for name in self.plastic if name in self.compared]
        return bool(learning) and all(track.span == 0 for track in learning)

    def result(self, evidence: str, extra: Sequence[tuple[str, str]] = (), **details: Any) -> Result:
        """`extra`: further (outcome, why)."""
        findings = [*self.findings(), *extra]
        outcome = min((outcome for outcome, _ in findings), key=OUTCOMES.index, default=OUTCOMES[-1])
        errors = {name: track.errors() for name, track in self.tracks.items() if track.compared}
        return Result(outcome, evidence, self.steps, errors, self.first_divergence(),
                      tuple(why for _, why in findings), compared_steps=self.compared_steps,
                      precision=self.precision, **details)


def _widen(low: np.ndarray, high: np.ndarray, values: np.ndarray) -> None:
    np.minimum(low, values.min(0), out=low)
    np.maximum(high, values.max(0), out=high)
