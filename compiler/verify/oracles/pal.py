"""The independent reference of PAL, fed with a setup's own inputs, gates and start."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.microcircuits.pal import Pal, build
from cortexc.compiler.microcircuits.pal_start import legacy_start
from cortexc.compiler.verify.oracles.base import (
    Oracle,
    followed,
    held_flags,
    held_inputs,
    in_numpy,
    played,
    reference,
    refused,
    settling_setup,
)
from cortexc.compiler.verify.recorded.format import Arrays, Recording
from cortexc.compiler.verify.recorded.pal import pal_sources
from cortexc.compiler.verify.runs import Chunk, Setup

if TYPE_CHECKING:
    from cortexc.reference.pal import PalParameters, PalState

RENAMED = {"use_activation": "dWPP_use_activation", "low_pass": "dWPP_low_pass"}
LEARNING = ("learn_forward", "learn_lateral", "learn_feedback", "noise")
UNSHARED = {"noise", "arrays", "high_pass"}


def pal_parameters(circuit: Pal, high_pass: bool = True) -> PalParameters:
    """The reference's parameters of a circuit description. Raises V122 for what it does not model."""
    values = {RENAMED.get(name, name): value for name, value in vars(circuit).items() if name not in UNSHARED}
    try:
        return reference("pal").PalParameters(**values, pyr_hi_pass=high_pass)
    except ValueError as error:
        raise refused(str(error)) from None


def pal_state(circuit: Pal, graph: Graph) -> PalState:
    """The reference's state before the first step, from the first values of the graph; (seeds, ...) each."""
    import torch

    start, pal = Interpreter(graph).values, reference("pal")

    def layers(kind: str) -> list:
        names = [f"{kind}_{i}" for i in range(circuit.hidden + 1) if f"{kind}_{i}" in sources]
        values = [start[sources[name].quantity] for name in names if sources[name].quantity in start]
        return [torch.from_numpy(np.ascontiguousarray(value)) for value in values]

    sources = {n: s for n, s in pal_sources(circuit).items() if s.kind == "now"}
    parameters, weights = pal_parameters(circuit), pal.Weights(*(layers(kind) for kind in pal.WEIGHTS))
    state = pal.fresh_state(parameters, layers("uP"), layers("uI"), weights)
    names = ("rP_breve", "rI_breve", "vbas", "vden", "vapi", "rP_breve_HI", "dWPP_LO")
    found = {pal.GOLDEN_NAMES[name]: layers(name) for name in names}
    noise = {"noise": [*layers("noise"), state.noise[-1]]} if layers("noise") else {}
    return replace(state, **{field: values for field, values in found.items() if values}, **noise)


def pal_trajectory(circuit: Pal, setup: Setup, steps: int | None = None, high_pass: bool = True) -> Iterator[Chunk]:
    """The torch reference, fed with the very inputs, gates and draws of a setup; names as in the recordings, arrays
    (K, seeds, ...)."""
    model = reference("pal").PalReference(pal_parameters(circuit, high_pass), pal_state(circuit, setup.graph))

    def step(inputs: Chunk, gates: dict[str, float], noise: Chunk) -> Chunk:
        model.step(*_arguments(circuit, inputs, gates, noise))
        return in_numpy(model.snapshot())

    return followed(setup, step, steps)


def _arguments(circuit: Pal, inputs: Chunk, gates: Mapping[str, float], noise: Chunk) -> tuple:
    """Of one call of the reference. Raises V123 where noise and feedback learning differ: there they are one."""
    import torch

    if circuit.variant == "PAL" and (gates["noise"] > 0) != (gates["learn_feedback"] > 0):
        raise CortexError("V123", "gates 'noise' and 'learn_feedback' differ; in the independent reference noise is on "
                                  "exactly while feedback learns.", "Set both, or verify against the interpreter.")
    white = [torch.tensor(noise[f"P{i}.white"]) for i in range(circuit.hidden)] if noise else None
    target = torch.tensor(inputs["teacher.value"]) if gates["target"] > 0 else None
    learn = (gates[g] > 0 for g in ("learn_forward", "learn_lateral", "learn_feedback"))
    return (torch.tensor(inputs["input.value"]), target, *learn, white)


def names(circuit: Pal, there: set[str]) -> dict[str, str]:
    """The reference's name -> quantity of the graph."""
    return {name: s.quantity for name, s in pal_sources(circuit).items() if s.kind == "now" and s.quantity in there}


def wanted(circuit: Pal, there: set[str]) -> list[str]:
    """The quantities that both have."""
    return list(names(circuit, there).values())


def trajectory(circuit: Pal, setup: Setup, there: set[str], steps: int) -> Iterator[Chunk]:
    """The reference under the graph's names."""
    for chunk in pal_trajectory(circuit, setup, steps):
        yield {quantity: chunk[name] for name, quantity in names(circuit, there).items()}


def recorded(recording: Recording) -> Iterator[Chunk]:
    """The reference under the recording's names, whose rates may be high-passed."""
    high_pass = recording.setup.graph == build(replace(recording.circuit, noise="recorded"))
    return pal_trajectory(recording.circuit, recording.setup, high_pass=high_pass)


def reference_arrays(circuit: Pal, steps: int = 200, seed: int = 1, high_pass: bool = True) -> Arrays:
    """A recording in the published format, made by the torch reference: other depths, sizes and options than those
    of the published simulator, inputs held for 5 steps, and learning gates that change independently of each other."""
    import torch

    pal, parameters, rng = reference("pal"), pal_parameters(circuit, high_pass), np.random.default_rng(seed)
    start = pal_state(circuit, build(replace(circuit, arrays=legacy_start(circuit, [seed]))))
    model, hidden, held = pal.PalReference(parameters, start), circuit.layers[1:-1], held_flags(rng, steps)
    arrays: Arrays = {"flags": held[:3].T.astype(bool), "evidence": np.array("independent-reference"),
                      "params_json": np.array(json.dumps(published_options(parameters))),
                      "r0": held_inputs(rng, steps, circuit.layers[0])}
    arrays["u_tgt"] = np.where(held[3][:, None] > 0, rng.uniform(-1, 1, (steps, circuit.layers[-1])), np.nan)
    arrays |= {f"white_{i}": rng.normal(size=(steps, n)) for i, n in enumerate(hidden)}
    given = {name: torch.tensor(array)[:, None] for name, array in arrays.items() if array.dtype.kind == "f"}
    white = [given[f"white_{i}"] for i in range(len(hidden))]
    calls = ((given["r0"][t], given["u_tgt"][t] if held[3, t] else None, *map(bool, held[:3, t]),
              [draws[t] for draws in white]) for t in range(steps))
    return arrays | played(model, calls, list(pal_sources(circuit)))


def published_options(parameters: PalParameters) -> dict[str, Any]:
    """The parameters under the names of the published configurations."""
    names = {"tau_xi": "tauxi", "tau_HP": "tauHP", "tau_LO": "tauLO", "sigma": "noise_scale", "variant": "model_type"}
    values = {field.name: getattr(parameters, field.name) for field in fields(parameters)}
    options = {names.get(name, name): value for name, value in values.items() if value is not None}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


# ---- a setup


def reference_setup(circuit: Pal, steps: int, seeds: Sequence[int], presentation: int = 50) -> Setup:
    """Every seed starts as the published simulator starts it. Raises V122."""
    circuit = circuit if circuit.noise != "recorded" else replace(circuit, noise="counter")
    pal_parameters(circuit)  # refuses what the reference does not model before anything is drawn
    graph = build(replace(circuit, arrays=legacy_start(circuit, list(seeds)))).with_(seeds=len(seeds))
    return settling_setup(graph, seeds, steps, presentation, LEARNING, {})


DEEP = Pal((2, 3, 4, 2), "PAL", ("logistic",), eta_fw=(2.0, 0.5, 0.3), eta_bw=(20.0, 10.0), eta_IP=(10.0, 5.0),
           eta_PI=(0.5, 0.4), alpha=(1e-3, 1e-4), sigma=(0.05, 0.03))
REHEARSED = {"pal": {"pal": DEEP, "half-look-ahead": replace(DEEP, taur=0.5), "FA": replace(DEEP, variant="FA"),
                     "BP": replace(DEEP, variant="BP")}}
ORACLE = Oracle(reference_setup, wanted, trajectory, recorded, reference_arrays, REHEARSED)
