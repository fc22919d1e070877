"""`cortexc sweep --sampler optuna`: values of keys that are looked for, by a study of optuna.

    cortexc sweep pal_digits --sampler optuna --trials 40 --over "model.eta_bw=log(1e-3,1e-1)" --over run.seeds=0..2 \\
        --set data.valid_fraction=0.2 -o runs/study

Every trial runs all seeds. AT_ONCE trials are asked for, run, and told in their order, wherever they ran: so a study is
fixed by its seed, and one that is started again asks for the same values and reads what has finished.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from cortexc.compiler.bench.cluster import package
from cortexc.compiler.experiments.config import parse_override
from cortexc.compiler.experiments.files import brief
from cortexc.compiler.ir.errors import CortexError

AT_ONCE = 4
"""Trials that are asked for before any of them is told: fixed, since another number would make another study."""
RANGE = re.compile(r"(log|uniform)\(([^,()]+),([^,()]+)\)|(-?\d+)\.\.(-?\d+)")
VALIDATION = "validation_accuracy"
Row = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """`objective`: validation_accuracy, validation_error (which is made small), or a number of results.json; `-NAME`
    is made small."""

    trials: int = 20
    objective: str = VALIDATION
    seed: int = 0

    @property
    def direction(self) -> str:
        return "minimize" if self.objective == "validation_error" or self.objective.startswith("-") else "maximize"

    def best(self, summary: Sequence[Row]) -> Row | None:
        """Of rows with the `mean` of each trial."""
        found = [row for row in summary if row["mean"] is not None]
        return (min if self.direction == "minimize" else max)(found, key=lambda row: row["mean"], default=None)


def read_range(text: str, read_axis: Callable[[str], tuple[str, list[Any]]]) -> tuple[str, Any]:
    """`KEY=log(LOW,HIGH)`, `KEY=uniform(LOW,HIGH)`, whole numbers `KEY=A..B`, or choices as in a sweep: (key, what
    optuna draws from). Raises X105, X210, X211."""
    found = package("optuna").distributions
    match = RANGE.fullmatch(text.partition("=")[2].strip())
    if match is None:
        key, values = read_axis(text)
        return key, found.CategoricalDistribution(values)
    key, _ = parse_override(text.partition("=")[0] + "=0")
    try:
        if match[4]:
            return key, found.IntDistribution(int(match[4]), int(match[5]))
        return key, found.FloatDistribution(float(match[2]), float(match[3]), log=match[1] == "log")
    except ValueError as error:
        raise CortexError("X210", f"'{brief(text)}' is no range: {brief(error)}.",
                          "Write KEY=log(1e-3,1e-1), KEY=uniform(0,1) or KEY=1..9.") from None


def searched(search: Search, ranges: Mapping[str, Any],
             tried: Callable[[list[Row]], list[list[tuple[Row, list[Row]]]]]) -> list[Row]:
    """The rows of all trials. `tried(values)` runs a trial for each of the values and gives, for each, the results of
    its runs with their rows. Raises X214."""
    optuna = package("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=search.direction, sampler=optuna.samplers.TPESampler(seed=search.seed))
    rows: list[Row] = []
    for first in range(0, search.trials, AT_ONCE):
        trials = [study.ask(dict(ranges)) for _ in range(min(AT_ONCE, search.trials - first))]
        for trial, runs in zip(trials, tried([trial.params for trial in trials]), strict=True):
            value = _value(search.objective, [results for results, _ in runs])
            study.tell(trial, value, state=None if value is not None else optuna.trial.TrialState.FAIL)
            rows += [{"trial": trial.number, "objective": value, **row} for _, own in runs for row in own]
    return rows


def _value(objective: str, runs: Sequence[Row]) -> float | None:
    """The mean over runs; none where one failed. Raises X214."""
    if any(results.get("error") for results in runs):
        return None
    return mean(measured(results, objective.removeprefix("-")) for results in runs)


def measured(results: Row, objective: str) -> float:
    """Of one run. Raises X214 where it is not there: of a validation, where none was made."""
    validations = results.get("validations") or []
    errors = [entry for entry in results.get("errors") or [] if entry["phase"] == "validation"]
    found = validations[-1]["mean"] if objective == VALIDATION and validations else \
        median(errors[-1]["error"]) if objective == "validation_error" and errors else results.get(objective)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise CortexError("X214", f"the results have no number '{objective}'.", "A validation needs its part of the "
                          "data, as from --set data.valid_fraction=0.2; numbers of results.json can be named.")
    return float(found)
