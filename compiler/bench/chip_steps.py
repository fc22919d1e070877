"""`cortexc bench chip-steps`: what each step costs from PAL as published to the one whose every rule is legal on Loihi.

Rows {dataset, step, weight_bits, legal_on, why_not, accuracy, spread, seeds, ...}, as `cortexc bench bits` makes them;
each step has all changes of those before. Float rows have the legal rules where the step has them. Options: `tasks`
(digits, yin_yang), `lines` (numbers of steps), `bits` (0 is float), `seeds`, which share a run, `epochs`, `jobs`; keys
of an experiment for all runs. With `-o FOLDER` every run keeps its results there and is not run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from cortexc.compiler.bench import checked
from cortexc.compiler.bench.bits import CASES, JITTERED, LEGAL, PAL_YIN_YANG, Case, job_of, rows_of
from cortexc.compiler.bench.runs import Job
from cortexc.compiler.ir import unknown

SEEDS = (1, 2, 3, 4, 5)
STEPS = ("as published", "increments summed over a presentation", "noise in pairs, no high-pass",
         "one projection for both ways back", "no decay", "nearest legal rules", "formats chosen")
SUMMED = {"protocol.update_every": 1, "protocol.learning_lag": 4}
SEPARATE: Mapping[str, Any] = {"model.joined": False, "model.alpha": 1e-6,
                               "record.alignment.angles": [["BPP_0.w", "WPP_1.w"]]}
TASKS: Mapping[str, tuple[str, str, Mapping[str, Any], int]] = {
    "digits": ("pal_digits", "pal_chip", {"protocol.halve_at": [5, 8, 10]}, 300_000),
    "yin_yang": ("pal_yinyang", "pal_chip_yinyang", PAL_YIN_YANG, 1_000_000)}
"""Name -> experiment as published, the legal one, what both are run with, and steps of calibration."""


def steps_of(task: str) -> list[Case]:
    """A case per step. Ranges are those of a calibration run until formats are chosen."""
    published, legal, common, calibration = TASKS[task]
    ranged = {**JITTERED, "precision.calibration_steps": calibration}
    changes: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
        (published, {}, ranged), (published, SUMMED, ranged), (legal, SEPARATE, ranged),
        (legal, {"model.alpha": 1e-6}, ranged), (legal, {}, ranged), (legal, LEGAL, ranged), (legal, LEGAL, JITTERED)]
    formats = [*[{}] * (len(STEPS) - 1), CASES[f"pal-chip-{task}"].formats]
    return [Case(name, task, {step: {"precision.map": "", **common, **own}}, fixed=fixed, formats=chosen)
            for step, (name, own, fixed), chosen in zip(STEPS, changes, formats, strict=True)]


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Raises X182 for an unknown task or step."""
    chosen = {"seeds": list(SEEDS), **checked(options, "tasks", "lines", "bits", "seeds", "epochs", "jobs", "backend")}
    return rows_of(list(_jobs(chosen)), chosen)


def _jobs(options: Mapping[str, Any]) -> Iterator[Job]:
    numbers = range(1, len(STEPS) + 1)
    for what, key, known in (("task", "tasks", list(TASKS)), ("step", "lines", list(map(str, numbers)))):
        for name in options.get(key, ()):
            if str(name) not in known:
                raise unknown("X182", f"{what} of bench chip-steps", str(name), known)
    for task in options.get("tasks", TASKS):
        for number, case in zip(numbers, steps_of(task), strict=True):
            for width in options.get("bits", (0, 8)) if number in options.get("lines", numbers) else ():
                step = STEPS[number - 1]
                job = job_of(f"step-{number}-{task}", case, step, int(width), options)
                yield replace(job, label=(("dataset", task), ("number", number), ("step", step),
                                          ("weight_bits", width or "float")))
