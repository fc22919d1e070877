"""`cortexc bench bits`: accuracy against bits, beside backprop in the same circuit and a frozen hidden layer.

Rows {circuit, dataset, line, weight_bits, state_bits, message_bits, rounding, factor_rounding, legal_on, why_not,
accuracy, spread, seeds, ...};
`legal_on` names the maps on which every rule fits the learning engine, in its form and in its integers, `why_not` has
the first reason of the others. Options: `cases`, `bits` (0 is float), `lines`, `seeds`, which share a run and its
formats (but for MNIST, a run per seed), `epochs`, `jobs`, `backend`; keys of an experiment for all runs;
`widen`, which gives 16 bits to one quantity at a time: a width of [precision] or the weights that fit a pattern, such
as `["", "messages", "tags", "B*.w"]`; `rates`, which multiply the rate of forward learning, one at a time: the last
accuracy on validation data, of which digits then have some, is in `validation`. With `-o FOLDER` every run keeps its
results there and is not run again; `bits.svg` is the plot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from cortexc.compiler.bench import checked, chosen, overrides_of, run_all
from cortexc.compiler.bench.runs import Found, Job, accuracy, by_label, figure, kept_run, trained
from cortexc.compiler.experiments.compilation import Compiled
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir import CortexError, parse_graph
from cortexc.compiler.passes.engine import engine_reasons
from cortexc.compiler.passes.legalise import the_map
from cortexc.compiler.passes.legality import rule_reports
from cortexc.compiler.passes.widths import Widths

BITS = (0, 16, 12, 10, 8, 6, 4)
SEEDS = (1, 2, 3)
NARROW, WIDE, LEAST_BITS, MOST_BITS = 8, 16, 2, 24
MAPS = ("loihi1", "loihi2")
LINES = ("circuit", "backprop in the same circuit", "hidden layer frozen", "feedback frozen")


@dataclass(frozen=True)
class Case:
    """A circuit on a data set. `lines`: overrides of every line; `fixed`: what fixed point needs besides the bits;
    `formats`: of weights, with the bits left open; `validated`: what gives it data to validate on; `apart`: a run per
    seed, as products of large held inputs are hoisted for one seed alone."""

    experiment: str
    dataset: str
    lines: Mapping[str, Mapping[str, Any]]
    common: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    formats: Mapping[str, str] = field(default_factory=dict)
    validated: Mapping[str, Any] = field(default_factory=dict)
    apart: bool = False


LEGAL = {"precision.map": "loihi2"}
JITTERED = {"precision.factor_rounding": "stochastic"}
"""Errors of less than half a unit must count: rounded to the nearest, a silent output cell stays silent."""
SUMMED = {"protocol.update_every": 1, "protocol.learning_lag": 4}
"""Increments of a presentation are summed, after rates have settled; for an input that is held, in the neuron."""
SETTLED = {**LEGAL, **SUMMED, "precision.credit": "never"}
"""A synapse sums its increments in a tag and learns once a presentation."""
PAL_FEEDBACK: Mapping[str, str] = {"BPP_0.w": "{bits}.{bits}-1", "BPI_0.w": "{bits}.{bits}-1"}
"""The apical dendrite sees their difference: one grid, so that they can cancel."""
PAL_YIN_YANG = {"model.eta_fw": [200.0, 0.1], "protocol.epochs": 20,
                "protocol.halve_at": [10, 14, 17]}
ERROR_NEURON_YIN_YANG = {
    "data.name": "yin_yang", "data.split": "pal", "model.layers": [4, 30, 3], "model.activation": "logistic",
    "model.eta_fw": [64.0, 8.0], "protocol.epochs": 60, "protocol.halve_at": [30, 42, 52]}
MNIST = {"data.name": "mnist", "data.split": "published", "data.limits": {"valid": 2000},
         "model.layers": [784, 100, 10], "protocol.epochs": 2, "protocol.halve_at": [1]}
PAL_MNIST = {**MNIST, "data.limits": {"train": 20_000, "valid": 2000}, "model.eta_IP": 0.3, "protocol.epochs": 3,
             "protocol.halve_at": [1, 2]}
FIVE_BITS = {"input.rate_copy": "6.5"}
"""Of a pixel: the engine's least scale leaves the finer units to the error, which all synapses of a cell share."""
SIGN_CONCORDANT_YIN_YANG = {
    "data.name": "yin_yang", "data.split": "pal", "data.normalise": [0.5, 0.25], "model.layers": [4, 30, 3],
    "model.limit": 4.0, "protocol.epochs": 60, "protocol.halve_at": [30, 42, 51]}
A_TENTH = {"data.valid_fraction": 0.1}
FEEDBACK_FROZEN = {"model.eta_bw": 0.0, "model.eta_PI": 0.0}
PAL_FROZEN = {"model.eta_fw": [0.0, 0.5], "model.ranges": {"WPP": [-1.0, 1.0], "BPP": [-1.0, 1.0]}}
"""The hidden weights must be of some size where they stay as they are, and the output's rate is their best."""
SC_LINES: dict[str, dict[str, Any]] = {
    LINES[0]: {}, LINES[1]: {"model.feedback": "BP"}, LINES[2]: {"model.eta": [0.0, 0.0078125]}}
SC_FORMATS = {f"w{kind}_{layer}.w": f"u{{bits}}.{{bits}}+{2 - layer}" for kind in "EI" for layer in (1, 2)}
CASES: dict[str, Case] = {
    "pal-digits": Case("pal_digits", "digits", {
        LINES[0]: {}, LINES[1]: {"model.variant": "BP"}, LINES[2]: PAL_FROZEN, LINES[3]: FEEDBACK_FROZEN},
        fixed={**SETTLED, **JITTERED}, formats={"WPP_0.w": "{bits}.{bits}-4", **PAL_FEEDBACK}, validated=A_TENTH),
    "pal-yin_yang": Case("pal_yinyang", "yin_yang", {
        LINES[0]: {}, LINES[1]: {"model.variant": "BP"}, LINES[2]: PAL_FROZEN, LINES[3]: FEEDBACK_FROZEN},
        common=PAL_YIN_YANG, fixed={**SETTLED, **JITTERED, "precision.calibration_steps": 3_000_000},
        formats=PAL_FEEDBACK),
    "pal-mnist": Case("pal_mnist", "mnist", {
        LINES[0]: {}, LINES[1]: {"model.variant": "BP"}, LINES[2]: PAL_FROZEN, LINES[3]: FEEDBACK_FROZEN},
        common={**PAL_MNIST, "model.eta_fw": [10.0, 0.1]},
        fixed={**LEGAL, **SUMMED, **JITTERED, "precision.calibration_steps": 500_000},
        formats={"WPP_0.w": "{bits}.{bits}-2", **FIVE_BITS, **PAL_FEEDBACK}, apart=True),
    "pal-chip-digits": Case("pal_chip", "digits", {LINES[0]: {}, LINES[3]: {"model.eta_bw": 0.0}}, fixed={
        **LEGAL, **JITTERED}, formats={"WPP_0.w": "{bits}.{bits}-4", "B_0.w": "{bits}.{bits}-2",
                                       "B_0.accumulate": "9.{narrow}+5"}, validated=A_TENTH),
    "pal-chip-yin_yang": Case("pal_chip_yinyang", "yin_yang", {
        LINES[0]: {}, LINES[3]: {"model.eta_bw": 0.0}}, fixed={**LEGAL, **JITTERED}, formats={
            "WPP_0.w": "{bits}.{bits}-7", "WPP_1.w": "{bits}.{bits}-1", "WIP_0.w": "{bits}.{bits}",
            "B_0.w": "{bits}.{bits}-2", "WIP_0.accumulate": "9.{narrow}+7", "B_0.accumulate": "9.{narrow}+5"}),
    "pal-chip-mnist": Case("pal_chip", "mnist", {LINES[0]: {}, LINES[3]: {"model.eta_bw": 0.0}}, common={
        **PAL_MNIST, "model.eta_fw": [10.0, 0.03]}, fixed={
            **LEGAL, **JITTERED, "precision.calibration_steps": 500_000}, formats={
                "WPP_0.w": "{bits}.{bits}-2", **FIVE_BITS, "B_0.w": "{bits}.{bits}-2",
                "B_0.accumulate": "9.{narrow}+5"}, apart=True),
    "error-neuron-digits": Case("error_neuron_digits", "digits", {
        LINES[0]: {"model.variant": "FA"}, LINES[1]: {"model.variant": "BP"},
        LINES[2]: {"model.variant": "FA", "model.eta_fw": [0.0, 0.2]}}, common={"protocol.halve_at": [6, 8, 10]},
        fixed=SETTLED, formats={"WPP_0.w": "{bits}.{bits}-1", "WPP_1.w": "{bits}.{bits}-1"}, validated=A_TENTH),
    "error-neuron-yin_yang": Case("error_neuron_digits", "yin_yang", {
        LINES[0]: {"model.variant": "FA"}, LINES[1]: {"model.variant": "BP"},
        LINES[2]: {"model.variant": "FA", "model.eta_fw": [0.0, 8.0]}}, common=ERROR_NEURON_YIN_YANG,
        fixed={**SETTLED, "precision.calibration_steps": 3_600_000},
        formats={"WPP_0.w": "{bits}.{bits}-5", "WPP_1.w": "{bits}.{bits}-4"}),
    "error-neuron-mnist": Case("error_neuron_digits", "mnist", {
        LINES[0]: {"model.variant": "FA"}, LINES[1]: {"model.variant": "BP"},
        LINES[2]: {"model.variant": "FA", "model.eta_fw": [0.0, 6.0], "model.ranges": {"WPP": [-1.0, 1.0]}}}, common={
            **MNIST, "model.activation": "logistic", "model.ranges": {"WPP": [-0.1, 0.1]}, "model.eta_fw": [30.0, 6.0]},
        fixed={**LEGAL, **SUMMED, "precision.calibration_steps": 200_000},
        formats={"WPP_0.w": "{bits}.{bits}-2", "WPP_1.w": "{bits}.{bits}-2"}, apart=True),
    "sign-concordant-digits": Case("sign_concordant_mnist_8bit", "digits", SC_LINES, common={
        "data.name": "digits", "data.split": "stratified", "model.layers": [64, 100, 10], "protocol.epochs": 60,
        "protocol.halve_at": [30, 42, 51]}, fixed={**LEGAL, **JITTERED}, formats=SC_FORMATS, validated=A_TENTH),
    "sign-concordant-yin_yang": Case(
        "sign_concordant_mnist_8bit", "yin_yang", SC_LINES, common=SIGN_CONCORDANT_YIN_YANG,
        fixed={**LEGAL, **JITTERED}, formats={f"w{kind}_{layer}.w": f"u{{bits}}.{{bits}}-{3 - layer}"
                                              for kind in "EI" for layer in (1, 2)}),
    "sign-concordant-mnist": Case(
        "sign_concordant_mnist_8bit", "mnist", SC_LINES, common={"protocol.epochs": 4, "protocol.halve_at": [2, 3]},
        fixed=LEGAL, formats=SC_FORMATS, validated={"data.split": "published"}, apart=True),
}


def bits(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Raises X182 for an unknown case, line or option, or where none is left; X184 for a value."""
    options = checked(options, "cases", "bits", "lines", "seeds", "epochs", "jobs", "backend", "granularity", "widen",
                      "rates")
    rows = rows_of(_jobs(options), options)
    if options.get("output"):
        plot(rows, Path(options["output"]) / "bits.svg")
    return rows


def rows_of(jobs: Sequence[Job], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = run_all(partial(kept_run, run=partial(trained, more=_said)), jobs, int(options.get("jobs", 2)))
    return [_row(label, runs) for label, runs in by_label(jobs, found)]


def _jobs(options: Mapping[str, Any]) -> list[Job]:
    cases, lines = chosen(options, "cases", CASES), chosen(options, "lines", LINES)
    for width in options.get("bits", BITS):
        if not isinstance(width, int) or width and not LEAST_BITS <= width <= MOST_BITS:
            raise CortexError("X184", f"bits of a weight are {width!r}; they are a whole number from {LEAST_BITS} to "
                                      f"{MOST_BITS}, or 0 for float.")
    result: list[Job] = []
    for name in cases:
        case = CASES[name]
        for line in [each for each in case.lines if each in lines]:
            for width in options.get("bits", BITS):
                result += [_at_rate(job_of(name, case, line, int(width), each, wide), case, rate)
                           for wide in options.get("widen", ("",)) for rate in options.get("rates", (None,))
                           for each in _by_seed(case, options)]
    if not result:
        raise CortexError("X182", "none of these cases has one of these lines.",
                          "Lines: " + "; ".join(f"{n}: {', '.join(c.lines)}" for n, c in CASES.items()) + ".")
    return result


def _by_seed(case: Case, options: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [{**options, "seeds": [seed]} for seed in options.get("seeds", SEEDS)] if case.apart else [options]


def job_of(name: str, case: Case, line: str, width: int, options: Mapping[str, Any], wide: str = "") -> Job:
    table = {"run.backend": "native", **case.common, **case.lines[line], "precision.weights": width,
             "precision.formats": {}}
    if width:
        formats = {key: _format(text, width) for key, text in case.formats.items() if _is_there(key, case.lines[line])}
        table |= {**case.fixed, "precision.formats": formats}
        if wide in Widths.__dataclass_fields__:
            table[f"precision.{wide}"] = WIDE
        elif wide:
            table["precision.formats"] = {key: text for key, text in formats.items() if not fnmatchcase(key, wide)}
            table["precision.formats"][wide] = str(WIDE)
    else:
        table |= {key: value for key, value in case.fixed.items() if key.startswith("protocol.")}
    seeds = list(options.get("seeds", SEEDS))
    table |= {**overrides_of(options), "run.seeds": seeds}
    label = {"circuit": name.removesuffix(f"-{case.dataset}"), "dataset": case.dataset, "line": line,
             "weight_bits": width or "float", "widened": wide}
    folder = options.get("output")
    parts = [name, line.replace(" ", "-"), str(width), *([wide.replace("*", "")] if wide else [])]
    text = "_".join([*parts, *map(str, seeds)])
    file = Path(folder) / f"{text}.json" if folder else None
    return Job(case.experiment, tuple(label.items()), table, file)


def _at_rate(job: Job, case: Case, rate: float | None) -> Job:
    """With the rate of forward learning times `rate`, and data to validate on; None: as it is."""
    if rate is None:
        return job
    options = job.loaded().model.options
    key = "eta_fw" if "eta_fw" in options else "eta"
    table = {**job.overrides, **case.validated, f"model.{key}": [float(rate) * eta for eta in options[key]]}
    file = job.kept_in.with_stem(f"{job.kept_in.stem}_rate_{rate}") if job.kept_in else None
    return Job(job.experiment, (*job.label, ("rate", float(rate))), table, file)


def _is_there(quantity: str, line: Mapping[str, Any]) -> bool:
    """With `BP` no weights are of a type; feedback that does not learn has no tag."""
    if quantity.startswith(("wE", "wI")):
        return line.get("model.feedback") != "BP"
    return quantity != "B_0.accumulate" or line.get("model.eta_bw") != 0.0


def _format(text: str, width: int) -> str:
    """`u{bits}.{bits}+1` for 8 bits: u8.9; `narrow` is 8 for more bits: a tag no finer than the engine's scales, which
    keeps its range."""
    head, _, fraction = text.format(bits=width, narrow=min(width, NARROW)).partition(".")
    whole, sign, more = fraction.replace("-", "+-").partition("+")
    return f"{head}.{int(whole) + int(more or 0)}"


def _said(session: Session) -> dict[str, Any]:
    return {"epochs": session.experiment.protocol.epochs, **legality_of(session.compiled)}


def legality_of(compiled: Compiled) -> dict[str, Any]:
    """`legal_on`: maps whose engine runs every rule as it is run here; `why_not`: the first reason of the others."""
    report, precision = compiled.report, compiled.experiment.precision
    if not precision.weights:
        return {"legal_on": [], "why_not": {}}
    ran = parse_graph(report.after("legalise")) if precision.map else compiled.graph
    reasons = {name: [*(rule.text for rule in rule_reports(ran, the_map(name), precision.credit) if not rule.legal),
                      *engine_reasons(report.graph, the_map(name))] for name in MAPS}
    return {"legal_on": [name for name, found in reasons.items() if not found],
            "why_not": {name: found[0] for name, found in reasons.items() if found}}


def _row(label: dict[str, Any], runs: list[Found]) -> dict[str, Any]:
    """Of runs that differ in their seeds; legal is what all of them are."""
    found, precision = runs[0], runs[0].get("precision") or {}
    why_not = {name: reason for run in reversed(runs) for name, reason in run["why_not"].items()}
    validations = [run["validations"][-1]["mean"] for run in runs if "rate" in label and run["validations"]]
    return {**label, "state_bits": precision.get("states", "float"), "message_bits": precision.get("messages", "float"),
            "rounding": precision.get("rounding", ""), "factor_rounding": precision.get("factor_rounding", ""),
            "legal_on": [name for name in found["legal_on"] if name not in why_not], "why_not": why_not,
            **accuracy([seed for run in runs for seed in run["seeds"]]),
            **({"validation": sum(validations) / len(validations)} if validations else {}), "epochs": found["epochs"],
            "backend": found["backend"], "granularity": found["granularity"], "simulated": True,
            "wall_s": sum(run["wall_s"] for run in runs)}


# ---- the plot: a row per circuit, a column per data set, filled where every rule is legal on Loihi 2

STYLES = {"circuit": ("#1b6ca8", "o", "-"), "backprop in the same circuit": ("#b04a3a", "s", "--"),
          "hidden layer frozen": ("#777777", "^", ":"), "feedback frozen": ("#2a8a57", "D", "-.")}


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes an SVG; rows in which one quantity is wider than the others are left out."""
    rows = [row for row in rows if not row["widened"]]
    circuits, sets = (list(dict.fromkeys(row[key] for row in rows)) or [""] for key in ("circuit", "dataset"))
    size = (4.2 * len(sets), 3.2 * len(circuits) + 0.4)
    with figure(path, len(circuits), len(sets), figsize=size, squeeze=False) as (drawn, axes):
        for circuit, across in zip(circuits, axes, strict=True):
            for dataset, axis in zip(sets, across, strict=True):
                panel = (circuit, dataset)
                own = [row for row in rows if (row["circuit"], row["dataset"]) == panel]
                axis.set_visible(bool(own))
                _panel(axis, panel, own)
        drawn.tight_layout(rect=(0, 0.5 / size[1], 1, 1))
        lines = dict.fromkeys(row["line"] for row in rows)
        drawn.legend([_sample(*STYLES[line]) for line in lines], lines, fontsize=7, ncols=2, loc="lower center",
                     title="filled: every rule is legal on loihi2", title_fontsize=7, frameon=False)


def _sample(colour: str, marker: str, style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle=style, markerfacecolor="white")


def _panel(axis: Any, panel: tuple[str, str], rows: list[Mapping[str, Any]]) -> None:
    widths = sorted({row["weight_bits"] for row in rows}, key=lambda w: 99 if w == "float" else w)
    places = {width: index for index, width in enumerate(widths)}
    for line in dict.fromkeys(row["line"] for row in rows):
        colour, marker, style = STYLES[line]
        own = sorted((row for row in rows if row["line"] == line), key=lambda row: places[row["weight_bits"]])
        x, y = [places[row["weight_bits"]] for row in own], [100 * row["accuracy"] for row in own]
        axis.errorbar(x, y, [100 * row["spread"] for row in own], color=colour, linestyle=style, label=line, capsize=2)
        for row, a, b in zip(own, x, y, strict=True):
            legal = "loihi2" in row["legal_on"]
            axis.plot(a, b, marker, color=colour, markerfacecolor=colour if legal else "white", markersize=6)
    axis.set_xticks(range(len(widths)), [str(width) for width in widths])
    axis.set_title(" on ".join(panel), fontsize=9)
    axis.set_xlabel("bits of a weight", fontsize=8)
    axis.set_ylabel("test accuracy (%)", fontsize=8)
    axis.tick_params(labelsize=8)


# ---- `cortexc bench chip-steps`

STEP_SEEDS = (1, 2, 3, 4, 5)
STEPS = ("as published", "increments summed over a presentation", "noise in pairs, no high-pass",
         "one projection for both ways back", "no decay", "nearest legal rules", "formats chosen")
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


def chip_steps(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each step costs from PAL as published to the one whose every rule is legal on Loihi: rows {dataset, step,
    weight_bits, legal_on, why_not, accuracy, spread, seeds, ...}; each step has all changes of those before. Float rows
    have the legal rules where the step has them. Options: `tasks` (digits, yin_yang), `lines` (numbers of steps),
    `bits` (0 is float), `seeds`, which share a run, `epochs`, `jobs`; keys of an experiment for all runs. With `-o
    FOLDER` every run keeps its results there and is not run again. Raises X182 for an unknown task or step."""
    checked(options, "tasks", "lines", "bits", "seeds", "epochs", "jobs", "backend")
    return rows_of(step_jobs(options), options)


def step_jobs(options: Mapping[str, Any]) -> list[Job]:
    options, jobs = {"seeds": list(STEP_SEEDS), **options}, []
    wanted = chosen(options, "lines", range(1, len(STEPS) + 1), "step")
    for task in chosen(options, "tasks", TASKS):
        for number, (step, case) in enumerate(zip(STEPS, steps_of(task), strict=True), 1):
            for width in options.get("bits", (0, 8)) if number in wanted else ():
                job = job_of(f"step-{number}-{task}", case, step, int(width), options)
                jobs.append(replace(job, label=(("dataset", task), ("number", number), ("step", step),
                                                ("weight_bits", width or "float"))))
    return jobs
