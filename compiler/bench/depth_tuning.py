"""`cortexc bench depth-tuning`: learning rates for the fair comparison, the same number of trials for every model.

Random search: wiring layered, activation tanh, error in the teacher's rates, for all. A trial trains three seeds under
another teacher than the comparison's for `EPOCHS` epochs and is judged by its median validation error. Rows {model,
net, error, trials, options}: the best trial. Run natively: the same bits as on Lava.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked
from cortexc.compiler.bench.depth_nets import chosen_models, chosen_nets, label_of
from cortexc.compiler.bench.runs import trained
from cortexc.compiler.bench.workers import in_processes
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.ir import CortexError

EPOCHS, TRIALS, SEEDS = 50, 32, (1, 2, 3)
TEACHER = 10
"""Seed of the teacher: the first of 1, 2, ... whose answers have a variance of at least 0.01 in every net; that of seed
1 is nearly constant for 16-8-4-2-1, and any model learns it."""
FAIR_MODELS: Mapping[str, tuple[str, str]] = {
    "ann": ("ann", "BP"), "dendritic": ("dendritic", "BP"), "dpc": ("dpc", "BP"),
    "error-neuron": ("error-neuron", "BP"), "error-neuron FA": ("error-neuron", "FA"),
    "error-neuron noise": ("error-neuron", "noise"), "error-neuron KP": ("error-neuron", "KP")}
"""Name in the tables -> (circuit, variant)."""


def fair_options(model: str, net: tuple[int, ...]) -> dict[str, Any]:
    """What all models share, and the model's circuit."""
    circuit, variant = FAIR_MODELS[model]
    found: dict[str, Any] = {
        "model.layers": list(net), "model.target_delay": len(net) - 1, "model.variant": variant,
        "model.activation": ["tanh"], "protocol.validation_gates": []}
    return found | ({"model.wiring": "layered"} if circuit == "error-neuron" else {})


def proposal(model: str, areas: int, trial: int) -> dict[str, Any]:
    """The options of a trial, drawn from ranges that are the same for all models where they share an option."""
    rng = np.random.default_rng([trial, areas, list(FAIR_MODELS).index(model)])

    def between(low: float, high: float) -> float:
        return float(10 ** rng.uniform(low, high))

    first, ratio = between(-1.5, 1.0), between(-1.5, 0.3)
    rates = [first * ratio ** i for i in range(areas)]
    found: dict[str, Any] = {"model.eta_fw": rates}
    circuit, variant = FAIR_MODELS[model]
    if circuit != "ann":
        found["model.use_activation"] = bool(rng.integers(2))
    if circuit in ("dendritic", "dpc"):
        lateral = between(-1.5, 1.0)
        found["model.eta_IP" if circuit == "dendritic" else "model.eta_PI"] = [
            lateral * rate for rate in rates[:max(areas - 1, 1)]]
    if variant == "KP":
        found["model.decay"] = between(-3.5, -0.5)
    if variant == "noise":
        found |= {"model.eta_bw": [between(0, 3)], "model.alpha": [between(-5, -2.5)],
                  "model.sigma": [between(-2, -0.3)], "model.multiplex": between(-2, 0),
                  "model.tau_LO": between(-1, 2), "protocol.feedback_every": int(rng.choice([0, 2, 4]))}
    return found


BEST: Mapping[str, tuple[int, ...]] = {
    "ann": (4, 22, 8, 31, 14), "dendritic": (24, 1, 4, 18, 31), "dpc": (4, 21, 24, 17, 3),
    "error-neuron": (6, 13, 28, 9, 29), "error-neuron FA": (28, 18, 20, 20, 18),
    "error-neuron noise": (6, 0, 31, 3, 10), "error-neuron KP": (13, 24, 5, 19, 25)}
"""Trial that won, per net, as `cortexc bench depth-tuning` found it."""


def tuned(model: str, net: tuple[int, ...]) -> dict[str, Any]:
    """The options of a model for a net in the fair comparison."""
    return fair_options(model, net) | proposal(model, len(net) - 1, BEST[model][len(net) - 2])


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Options: models, nets, trials, epochs, jobs."""
    checked(options, "models", "nets", "trials", "epochs", "jobs")
    trials, epochs = int(options.get("trials", TRIALS)), int(options.get("epochs", EPOCHS))
    wanted = [(model, net) for net in chosen_nets(options) for model in chosen_models(options, FAIR_MODELS)]
    work = [(model, net, trial, epochs) for model, net in wanted for trial in range(trials)]
    found = in_processes(trial_error, work, int(options.get("jobs", 2)))
    return [_best(model, net, found[i * trials:(i + 1) * trials]) for i, (model, net) in enumerate(wanted)]


def trial_error(model: str, net: tuple[int, ...], trial: int, epochs: int) -> float:
    """Median validation error after `epochs` epochs; infinite where the run diverges."""
    overrides = {**fair_options(model, net), **proposal(model, len(net) - 1, trial), "run.backend": "native",
                 "run.seeds": list(SEEDS), "protocol.first_seed": TEACHER, "protocol.epochs": epochs + 1,
                 "protocol.validation_every": epochs}
    try:
        entries = trained(load_experiment(f"depth_{FAIR_MODELS[model][0]}", overrides), "errors")["errors"]
    except CortexError as error:
        if error.code != "X152":
            raise
        return float("inf")
    last = [entry["error"] for entry in entries if entry["phase"] == "validation"][-1]
    return float(np.median(last)) if np.all(np.isfinite(last)) else float("inf")


def _best(model: str, net: tuple[int, ...], errors: list[float]) -> dict[str, Any]:
    best = int(np.argmin(errors))
    return {"model": model, "net": label_of(net), "error": errors[best], "trial": best, "trials": len(errors),
            "diverged": int(np.isinf(errors).sum()), "second": float(np.sort(errors)[1]) if len(errors) > 1 else None,
            "options": proposal(model, len(net) - 1, best)}


