"""The error-neuron circuit and its rivals against depth: `cortexc bench depth`, `depth-angles`, `depth-tuning`.

All train a student on a teacher's answers (Fig 3), with the published learning rates or, `--set setting=fair`, with the
same wiring, metric and tuning budget for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked, chosen, overrides_of, run_all
from cortexc.compiler.bench.runs import Job, figure, kept_run, trained
from cortexc.compiler.bench.workers import in_processes
from cortexc.compiler.experiments.circuits import circuit_options
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.results import angle
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir import CortexError, unknown
from cortexc.compiler.ir.functions import VECTOR
from cortexc.compiler.microcircuits import CIRCUITS
from cortexc.compiler.microcircuits.error_neuron import ErrorNeuron
from cortexc.compiler.microcircuits.pal_start import attenuation
from cortexc.compiler.microcircuits.rivals import Ann

Net = tuple[int, ...]
Row = dict[str, Any]
NETS: Mapping[str, Net] = {"-".join(map(str, net)): net for net in (
    (2, 1), (4, 2, 1), (8, 4, 2, 1), (16, 8, 4, 2, 1), (32, 16, 8, 4, 2, 1))}
MODELS = ("ann", "error-neuron", "dpc", "dendritic")
DEEP = (1, .2, .1, .05, .01)
FORWARD: Mapping[str, Sequence[Sequence[float]]] = {
    "error-neuron": ((1,), (2, .2), (1, .2, .05), (2, .5, .125, .03125), DEEP),
    "ann": ((1,), (2, .2), (1, .2, .05), (2, .5, .1, .01), DEEP),
    "dendritic": ((1,), (.1, .02), (.1, .02, .002), (.1, .01, .002, .001), DEEP)}
LATERAL = ((0,), (.04,), (.04, .004), (.02, .004, .002), (.4, .2, .1, .02))
"""Published learning rates, per net and area (specs/error_neuron.md 8.3)."""


def published(model: str, net: Net) -> Row:
    """The options of a model for a net in the published comparison."""
    i = list(NETS.values()).index(net)
    rates = FORWARD["dendritic" if model == "dpc" else model][i]
    found: Row = {"model.layers": list(net), "model.eta_fw": list(rates), "model.target_delay": len(net) - 1}
    lateral = {"dendritic": "model.eta_IP", "dpc": "model.eta_PI"}.get(model)
    return found | ({lateral: list(LATERAL[i])} if lateral else {})


def rows(options: Mapping[str, Any]) -> list[Row]:
    """Test errors: rows {net, model, epochs, median, q25, q75, ...} of ten seeds, trained on Lava. Options: setting
    (published, or fair, which adds the variants of the error-neuron circuit that learn their feedback), models, nets
    (texts such as 4-2-1), epochs (1000), seeds, jobs (2), and keys of an experiment. With `-o FOLDER` every run is kept
    and not repeated, and the errors against depth are plotted there."""
    checked(options, "setting", "models", "nets", "epochs", "seeds", "jobs", "backend", "granularity")
    setting = str(options.get("setting", "published"))
    if setting not in ("published", "fair"):
        raise unknown("X182", "setting", setting, ("published", "fair"))
    models = chosen(options, "models", MODELS if setting == "published" else list(FAIR_MODELS))
    jobs = [_job(setting, model, net, options) for net in chosen(options, "nets", NETS) for model in models]
    results = run_all(kept_run, jobs, int(options.get("jobs", 2)))
    found = [_row(setting, *each) for each in zip(jobs, results, strict=True)]
    if "output" in options:
        plot(found, Path(options["output"]) / f"depth-{setting}.png")
    return found


def _job(setting: str, model: str, net: str, options: Mapping[str, Any]) -> Job:
    fair = setting == "fair"
    overrides = {**(tuned if fair else published)(model, NETS[net]), **overrides_of(options)}
    experiment = f"depth_{FAIR_MODELS[model][0] if fair else model}"
    epochs = load_experiment(experiment, overrides).protocol.epochs
    name = f"{setting}_{model.replace(' ', '-')}_{net}_{epochs}.json"
    label = ("net", net), ("model", model)
    return Job(experiment, label, overrides, Path(options["output"]) / name if "output" in options else None)


def _row(setting: str, job: Job, found: Mapping[str, Any]) -> Row:
    tests = [entry for entry in found["errors"] if entry["phase"] == "test"]
    errors = [e if e is not None and np.isfinite(e) else None for e in tests[-1]["error"]]
    q25, median, q75 = quartiles(errors)
    return {"setting": setting, **dict(job.label), "epochs": tests[-1]["epoch"] + 1,
            "median": median, "q25": q25, "q75": q75, "seeds": len(errors), "diverged": errors.count(None),
            "errors": errors, "validation": [[entry["epoch"], quartiles(entry["error"])[1]]
                                             for entry in found["errors"] if entry["phase"] == "validation"],
            "backend": found["backend"], "granularity": found["granularity"], "wall_s": found["wall_s"],
            "us_per_step": found["seconds"].get("run", 0.0) / found["steps"] * 1e6}


def quartiles(errors: Sequence[float | None]) -> tuple[float | None, ...]:
    """Lower quartile, median, upper quartile; a run that diverged counts as worse than any, None where it reaches."""
    ordered = [float("inf") if e is None or not np.isfinite(e) else e for e in errors]
    found = np.percentile(ordered, (25, 50, 75), method="lower" if None in errors else "linear")
    return tuple(float(value) if np.isfinite(value) else None for value in found)


def plot(found: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Median and quartiles of the test error against depth, a line per model."""
    nets = list(dict.fromkeys(row["net"] for row in found))
    with figure(file, saved={"dpi": 120}, figsize=(7, 4.5), layout="constrained") as (_, axes):
        for model in dict.fromkeys(row["model"] for row in found):
            own = [row for row in found if row["model"] == model and row["q75"] is not None]
            x, y = [nets.index(row["net"]) for row in own], np.array([row["median"] for row in own])
            spread = np.abs(np.array([[row["q25"], row["q75"]] for row in own]).T - y)
            axes.errorbar(x, y, spread, marker="o", capsize=3, label=model)
        axes.set(yscale="log", xlabel="net", ylabel="squared error of the output in the test",
                 title=f"Teacher and student against depth, {found[0]['epochs']} epochs, {found[0]['setting']} setting")
        axes.set_xticks(range(len(nets)), nets)
        axes.legend(fontsize=8)


# ---- the fair comparison

EPOCHS, TRIALS, TUNING_SEEDS = 50, 32, (1, 2, 3)
TEACHER = 10
"""Seed of the teacher: the first of 1, 2, ... whose answers have a variance of at least 0.01 in every net; that of seed
1 is nearly constant for 16-8-4-2-1, and any model learns it."""
FAIR_MODELS: Mapping[str, tuple[str, str]] = {
    "ann": ("ann", "BP"), "dendritic": ("dendritic", "BP"), "dpc": ("dpc", "BP"),
    "error-neuron": ("error-neuron", "BP"), "error-neuron FA": ("error-neuron", "FA"),
    "error-neuron noise": ("error-neuron", "noise"), "error-neuron KP": ("error-neuron", "KP")}
"""Name in the tables -> (circuit, variant)."""


def fair_options(model: str, net: Net) -> Row:
    """What all models share, and the model's circuit."""
    circuit, variant = FAIR_MODELS[model]
    found: Row = {
        "model.layers": list(net), "model.target_delay": len(net) - 1, "model.variant": variant,
        "model.activation": ["tanh"], "protocol.validation_gates": []}
    return found | ({"model.wiring": "layered"} if circuit == "error-neuron" else {})


def proposal(model: str, areas: int, trial: int) -> Row:
    """The options of a trial, drawn from ranges that are the same for all models where they share an option."""
    rng = np.random.default_rng([trial, areas, list(FAIR_MODELS).index(model)])

    def between(low: float, high: float) -> float:
        return float(10 ** rng.uniform(low, high))

    first, ratio = between(-1.5, 1.0), between(-1.5, 0.3)
    rates = [first * ratio ** i for i in range(areas)]
    found: Row = {"model.eta_fw": rates}
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


def tuned(model: str, net: Net) -> Row:
    """The options of a model for a net in the fair comparison."""
    return fair_options(model, net) | proposal(model, len(net) - 1, BEST[model][len(net) - 2])


def tuning(options: Mapping[str, Any]) -> list[Row]:
    """Random search: wiring layered, activation tanh, error in the teacher's rates, for all. A trial trains three seeds
    under another teacher than the comparison's for `EPOCHS` epochs and is judged by its median validation error. Rows
    {model, net, error, trials, options}: the best trial. Run natively: the same bits as on Lava. Options: models, nets,
    trials, epochs, jobs."""
    checked(options, "models", "nets", "trials", "epochs", "jobs")
    trials, epochs = int(options.get("trials", TRIALS)), int(options.get("epochs", EPOCHS))
    wanted = [(model, net) for net in chosen(options, "nets", NETS) for model in chosen(options, "models", FAIR_MODELS)]
    work = [(model, NETS[net], trial, epochs) for model, net in wanted for trial in range(trials)]
    errors = in_processes(trial_error, work, int(options.get("jobs", 2)))
    found = []
    for i, (model, net) in enumerate(wanted):
        own = errors[i * trials:(i + 1) * trials]
        best = int(np.argmin(own))
        found.append({"model": model, "net": net, "error": own[best], "trial": best, "trials": trials,
                      "diverged": int(np.isinf(own).sum()), "second": float(np.sort(own)[1]) if trials > 1 else None,
                      "options": proposal(model, len(NETS[net]) - 1, best)})
    return found


def trial_error(model: str, net: Net, trial: int, epochs: int) -> float:
    """Median validation error after `epochs` epochs; infinite where the run diverges."""
    overrides = {**fair_options(model, net), **proposal(model, len(net) - 1, trial), "run.backend": "native",
                 "run.seeds": list(TUNING_SEEDS), "protocol.first_seed": TEACHER, "protocol.epochs": epochs + 1,
                 "protocol.validation_every": epochs}
    try:
        entries = trained(load_experiment(f"depth_{FAIR_MODELS[model][0]}", overrides))["errors"]
    except CortexError as error:
        if error.code != "X152":
            raise
        return float("inf")
    last = [entry["error"] for entry in entries if entry["phase"] == "validation"][-1]
    return float(np.median(last)) if np.all(np.isfinite(last)) else float("inf")


# ---- angles to backprop

ANGLE_NETS, ANGLE_SEEDS = ("4-2-1", "8-4-2-1", "16-8-4-2-1"), (56789, 12345)
STREAM = "updates"


def angles(options: Mapping[str, Any]) -> list[Row]:
    """Angle between a circuit's update and exact backprop's, in untrained nets: rows {net, model, seed, angles},
    degrees, per area from the input on (specs/error_neuron.md 8.3). During an epoch in which feedback is copied and
    increments are computed, but not applied, the increment of the last step of each presentation is compared with
    backprop's in the layered net of the same weights, averaged over the samples. Options: models, nets, seeds,
    backend."""
    checked(options, "models", "nets", "seeds", "backend")
    nets = chosen({"nets": list(ANGLE_NETS), **options}, "nets", NETS)
    return [row for net in nets for model in chosen(options, "models", MODELS) for row in _angles(model, net, options)]


def _angles(model: str, net: str, options: Mapping[str, Any]) -> list[Row]:
    seeds, areas = list(options.get("seeds", ANGLE_SEEDS)), len(NETS[net]) - 1
    overrides = {**published(model, NETS[net]), "run.seeds": seeds, "run.backend": options.get("backend", "lava"),
                 "protocol.epochs": 1, "protocol.train_gates": ["copy", "target"],
                 "protocol.validation_gates": ["copy"]}
    experiment = load_experiment(f"depth_{model}", overrides)
    circuit = circuit_options(experiment.model)
    names = [circuit.forward_name(i, i - 1) if isinstance(circuit, ErrorNeuron) else f"WPP_{i}" for i in range(areas)]
    increments = [f"{name}.increment" for name in names]
    experiment = load_experiment(f"depth_{model}", {**overrides, f"record.{STREAM}": {
        "quantities": ["input.rate", "teacher.rate", *increments], "at": [-1], "phases": ["train"]}})
    with Session(experiment) as session:
        session.run()
        records = session.records
        weights = [session.runner.value(f"{name}.w") for name in names]
        inputs, targets = (records.rows(STREAM, name) for name in ("input.rate", "teacher.rate"))
        updates = [records.rows(STREAM, name) for name in increments]
    of_voltage = CIRCUITS[experiment.model.circuit].target == "voltage"
    exact = backprop(circuit, of_voltage, weights, inputs, targets)
    found = np.stack([angle(own, best).mean(axis=0) for own, best in zip(updates, exact, strict=True)], axis=1)
    return [{"net": net, "model": model, "seed": seed, "angles": found[i].round(2).tolist(),
             "samples": len(inputs), "backend": experiment.run.backend} for i, seed in enumerate(seeds)]


def backprop(circuit: Any, of_voltage: bool, weights: list[np.ndarray], inputs: np.ndarray,
             targets: np.ndarray) -> list[np.ndarray]:
    """Minus the gradient of half the squared error in the layered net, (samples, seeds, n_post, n_pre) per area."""
    areas, phi = len(weights), circuit.activation * (len(weights) if len(circuit.activation) == 1 else 1)
    if isinstance(circuit, ErrorNeuron):
        gains = [circuit.gbas / (circuit.gl + circuit.gbas + circuit.gapi)] * areas
    elif isinstance(circuit, Ann):
        gains = [circuit.gbas / (circuit.gl + circuit.gbas)] * areas
    else:
        gains = [attenuation(circuit, i) for i in range(areas)]
    rates, voltages = [inputs], []
    for w, gain, name in zip(weights, gains, phi, strict=True):
        voltages.append(gain * np.einsum("sij,tsj->tsi", w, rates[-1]))
        rates.append(VECTOR[name](voltages[-1]))
    slopes = [VECTOR[f"d_{name}"](u) for name, u in zip(phi, voltages, strict=True)]
    error = targets - voltages[-1] if of_voltage else slopes[-1] * (targets - rates[-1])
    found: list[np.ndarray] = []
    for i in reversed(range(areas)):
        found.insert(0, gains[i] * error[..., :, None] * rates[i][..., None, :])
        if i:
            error = slopes[i - 1] * np.einsum("sij,tsi->tsj", weights[i], gains[i] * error)
    return found
