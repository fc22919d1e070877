"""`cortexc bench depth-angles`: angle between a circuit's update and exact backprop's, in untrained nets.

Rows {net, model, seed, angles}, degrees, per area from the input on (specs/error_neuron.md 8.3). During an epoch in
which feedback is copied and increments are computed, but not applied, the increment of the last step of each
presentation is compared with backprop's in the layered net of the same weights, averaged over the samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked
from cortexc.compiler.bench.depth_nets import chosen_models, chosen_nets, label_of, published
from cortexc.compiler.experiments.circuits import circuit_options
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.figures import angle
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir.functions import VECTOR
from cortexc.compiler.microcircuits import CIRCUITS
from cortexc.compiler.microcircuits.error_neuron import ErrorNeuron
from cortexc.compiler.microcircuits.pal_start import attenuation
from cortexc.compiler.microcircuits.rivals import Ann

NETS, SEEDS = ("4-2-1", "8-4-2-1", "16-8-4-2-1"), (56789, 12345)
STREAM = "updates"


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Options: models, nets, seeds, backend."""
    checked(options, "models", "nets", "seeds", "backend")
    table = {"nets": list(NETS), **options}
    return [row for net in chosen_nets(table) for model in chosen_models(table) for row in _rows(model, net, options)]


def _rows(model: str, net: tuple[int, ...], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    seeds, areas = list(options.get("seeds", SEEDS)), len(net) - 1
    overrides = {**published(model, net), "run.seeds": seeds, "run.backend": options.get("backend", "lava"),
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
    return [{"net": label_of(net), "model": model, "seed": seed, "angles": found[i].round(2).tolist(),
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
