"""`cortexc bench feedback-matters`: tasks on which learned or sign-concordant feedback beats random feedback, or does
not, for every circuit that has a way back.

Rows {task, circuit, feedback, mean, spread, seeds, unit, wall_s}; `beats_random`: by more than the larger spread of the
two. Three tasks, on each of which a hidden layer is of use only if its feedback points the right way:

* `chain`: 1-1-1 cells, logistic, weights and feedback in [-1, 0], a teacher whose weights are 2: the sign of the
  feedback is wrong. Test error. (`cortexc bench pal-fig4ab` is the same for `pal`.)
* `code`: digits through two cells, 64-30-2-30-64; accuracy of a linear classifier on the two.
* `deep`: digits, 64-60-60-60-10, after five epochs; test accuracy.

Options were chosen with other seeds (and, for the chain, other inputs) than those of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked, chosen, run_all
from cortexc.compiler.bench.runs import trained
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.data.baselines import linear_classifier
from cortexc.compiler.experiments.data.datasets import Dataset, load_dataset
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.experiments.tasks.autoencode import probe

SEEDS = tuple(range(11, 21))
CHAIN: Mapping[str, Any] = {
    "model.layers": [1, 1, 1], "model.activation": ["logistic"], "model.eta_fw": [2, 0.5], "protocol.epochs": 1000,
    "protocol.teacher": {"WPP": [2, 2]}, "protocol.teacher_activation": "logistic", "protocol.validation_gates": [],
    "protocol.validation_every": 0, "protocol.first_seed": 777}
CODE: Mapping[str, Any] = {
    "model": {"circuit": "layered-pal", "layers": [64, 30, 2, 30, 64], "start": "normal", "reconstructs": True,
              "activation": ["tanh", "linear", "tanh", "linear"], "eta_fw": [0.1875], "eta_bw": [0.625],
              "alpha": [1e-3], "sigma": [0.02, 0.02, 0.02, 0]},
    "data": {"name": "digits", "split": "stratified"},
    "protocol": {"task": "autoencode", "epochs": 20, "presentation_steps": 20, "minibatch": 16, "code": "L2.rate",
                 "probe_every": 20}}
DEEP: Mapping[str, Any] = {
    "model": {"circuit": "sign-concordant", "layers": [64, 60, 60, 60, 10], "start": "normal", "rate": 2e-3,
              "eta": [0.05]},
    "data": {"name": "digits", "split": "stratified", "target": [1.0, 0.0], "normalise": [0.3, 0.38]},
    "protocol": {"task": "classify", "epochs": 5, "presentation_steps": 5, "minibatch": 20}}
ERROR_NEURON: Mapping[str, Any] = {"model.wiring": "layered", "model.ranges": {"WPP": [-1, 0], "BII": [-1, 0]}}
RIVAL: Mapping[str, Any] = {"model.ranges": {"WPP": [-1, 0], "BPP": [-1, 0]}}
LEARNED: Mapping[str, Mapping[str, Any]] = {
    "noise": {"model.eta_bw": [100.0], "model.alpha": [1e-4], "model.sigma": [0.3], "protocol.feedback_every": 2},
    "KP": {"model.decay": 1e-4}}
"""Options of the error-neuron circuit's learned feedback."""


@dataclass(frozen=True)
class Case:
    """One row: `learned`: feedback that is compared with random one. `base`: an experiment's name or its tables."""

    task: str
    circuit: str
    feedback: str
    base: str | Mapping[str, Any]
    overrides: Mapping[str, Any]
    learned: bool = False


def cases() -> Iterator[Case]:
    variants: Mapping[str, Sequence[str]] = {
        "error-neuron": (*LEARNED, "FA", "BP"), "dendritic": ("FA", "BP"), "dpc": ("FA", "BP"), "ann": ("FA", "BP")}
    for circuit, names in variants.items():
        own = dict(CHAIN, **(ERROR_NEURON if circuit == "error-neuron" else RIVAL))
        for name in names:
            more = LEARNED.get(name, {})
            yield Case("chain", circuit, name, f"depth_{circuit}", {**own, **more, "model.variant": name},
                       name in LEARNED)
        yield Case("chain", circuit, "frozen", f"depth_{circuit}",
                   {**own, "model.variant": "FA", "model.eta_fw": [0, 0.5]})
    for name, more in (("PAL", {}), ("FA", {"model.eta_bw": 0.0}),
                       ("frozen", {"model.eta_bw": 0.0, "model.eta_fw": [0.0, 10.0]})):
        yield Case("chain", "pal-chip", name, "pal_chip_chain", more, name == "PAL")
    for name in ("PAL", "FA", "DFA", "BP"):
        yield Case("code", "layered-pal", name, CODE, {"model.variant": name}, name == "PAL")
    yield Case("code", "layered-pal", "frozen", CODE,
               {"model.variant": "FA", "model.eta_fw": [0, 0, 0.1875, 0.1875]})
    for name in ("locked", "frSF", "FA", "DFA", "BP"):
        yield Case("deep", "sign-concordant", name, DEEP, {"model.feedback": name}, name in ("locked", "frSF"))
    yield Case("deep", "sign-concordant", "frozen", DEEP, {"model.feedback": "FA", "model.eta": [0, 0, 0, 0.05]})


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Options: tasks (chain, code, deep), models, seeds, jobs. Raises X182."""
    checked(options, "tasks", "models", "seeds", "jobs")
    known, seeds = list(cases()), list(options.get("seeds", SEEDS))
    tasks = chosen(options, "tasks", dict.fromkeys(case.task for case in known))
    models = chosen(options, "models", dict.fromkeys(case.circuit for case in known))
    wanted = [case for case in known if case.task in tasks and case.circuit in models]
    found = run_all(partial(_measured, seeds=seeds), wanted, int(options.get("jobs", 1)))
    return _compared(found) + [_linear(task) for task in dict.fromkeys(case.task for case in wanted)]


def _measured(case: Case, seeds: list[int]) -> dict[str, Any]:
    overrides = {**case.overrides, "run.seeds": seeds, "run.backend": "native"}
    found = trained(load_experiment(case.base, overrides))
    chain = case.task == "chain"
    values = found["errors"][-1]["error"] if chain else [100 * each["test_accuracy"] for each in found["seeds"]]
    return _row(case, values, found["wall_s"])


def _row(case: Case, values: Sequence[float], wall_s: float) -> dict[str, Any]:
    return {"task": case.task, "circuit": case.circuit, "feedback": case.feedback, "mean": float(np.mean(values)),
            "spread": float(np.std(values)), "seeds": len(values), "unit": "error" if case.task == "chain" else "%",
            "wall_s": wall_s, "beats_random": case.learned or None}


def _compared(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With `beats_random` for feedback that is learned or sign-concordant."""
    for row in found:
        other = next(each for each in found if each["feedback"] == "FA"
                     and (each["task"], each["circuit"]) == (row["task"], row["circuit"]))
        gain = (row["mean"] - other["mean"]) * (-1 if row["unit"] == "error" else 1)
        row["beats_random"] = row["beats_random"] and bool(gain > max(row["spread"], other["spread"]))
    return found


def _linear(task: str) -> dict[str, Any]:
    """A linear classifier; of the code, on the two principal components; of the chain, a line by least squares."""
    data = load_dataset("digits", split="stratified")
    found = _line() if task == "chain" else 100 * (
        _principal(data) if task == "code" else linear_classifier(data).test_accuracy)
    return _row(Case(task, "none", "linear", "", {}), [found], 0.0)


def _line() -> float:
    experiment = load_experiment("depth_ann", {**CHAIN, **RIVAL, "run.seeds": [1], "run.backend": "native"})
    with Session(experiment) as session:
        x, target = session.plan.samples.T
    third = len(x) // 3
    fit = np.polyfit(x[:third], target[:third], 1)
    return float(np.mean((np.polyval(fit, x[-third:]) - target[-third:]) ** 2))


def _principal(data: Dataset) -> float:
    middle = data.train_x.mean(axis=0)
    axes = np.linalg.svd(data.train_x - middle, full_matrices=False)[2][:2].T
    return probe((data.train_x - middle) @ axes, data.train_y, (data.test_x - middle) @ axes, data.part("test")[1])
