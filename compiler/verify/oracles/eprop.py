"""The independent reference of e-prop, fed with a setup's own inputs, gates, draws and start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.microcircuits.eprop import GATES, Eprop, build, normal_start
from cortexc.compiler.verify.oracles.base import Oracle, followed, in_numpy, reference, refused
from cortexc.compiler.verify.runs import Chunk, Setup, input_columns

WEIGHTS = ("W_in", "W", "W_out", "B")
FIELDS = {"cue.trace": "x_trace", "recurrent.v": "v", "recurrent.a": "a", "recurrent.fired": "fired",
          "recurrent.refractory": "refractory", "recurrent.trace": "z_trace", "recurrent.filtered": "z_filtered",
          "recurrent.rate": "mean_rate", "readout.y": "y", "readout.total": "total"}
SEEN = {"cue.spike": "x", "recurrent.spike": "z", "recurrent.psi": "psi", "readout.error": "error",
        "readout.share": "share", "recurrent.learning": "learning"}


def _parameters(circuit: Eprop, beta: np.ndarray) -> Any:
    import torch

    if circuit.frozen:
        raise refused("cells that do not learn")
    module = reference("eprop")
    names = set(module.EpropParameters.__dataclass_fields__) & set(Eprop.__dataclass_fields__) - {"beta"}
    return module.EpropParameters(torch.tensor(beta), **{name: getattr(circuit, name) for name in names})


def _quantities(state: Any) -> Chunk:
    """The reference's numbers under the graph's names."""
    found = {name: getattr(state, own) for name, own in FIELDS.items()}
    found |= {name: state.seen[symbol] for name, symbol in SEEN.items()}
    found |= {f"{name}.w": state.weights[name] for name in WEIGHTS}
    found |= {f"{name}.slow": trace for name, trace in state.slow.items()}
    found |= {f"{name}.eligibility": trace for name, trace in state.eligibility.items()}
    found |= {f"{name}.adam": adam.total for name, adam in state.adam.items()}
    return in_numpy(found)


def wanted(circuit: Eprop, there: set[str]) -> list[str]:
    """The quantities that both have."""
    plastic = ("W_in", "W", "W_out", *(("B",) if circuit.feedback == "adaptive" else ()))
    found = [*FIELDS, *SEEN, *(f"{name}.w" for name in WEIGHTS), *(f"{name}.adam" for name in plastic)]
    return [name for name in (*found, *(f"{w}.{e}" for w in ("W_in", "W") for e in ("slow", "eligibility")))
            if name in there]


def trajectory(circuit: Eprop, setup: Setup, there: set[str], steps: int) -> Iterator[Chunk]:
    """The reference under the graph's names, (K, seeds, ...)."""
    import torch

    module, start = reference("eprop"), Interpreter(setup.graph)
    parameters = _parameters(circuit, np.asarray(setup.graph.arrays["recurrent.beta"], dtype=np.float64).reshape(-1)[
        :circuit.cells])
    weights = {name: torch.tensor(start.values[f"{name}.w"]) for name in WEIGHTS}
    model = module.EpropReference(parameters, module.fresh_state(parameters, weights))
    names = wanted(circuit, there)

    def step(inputs: Chunk, gates: dict[str, float], noise: Chunk) -> Chunk:
        model.step(*map(torch.tensor, (inputs["cue.level"], noise["cue.u"], inputs["readout.target"])),
                   *(gates[gate] > 0 for gate in GATES))
        found = _quantities(model.state)
        return {name: found[name] for name in names}

    return followed(setup, step, steps)


def reference_setup(circuit: Eprop, steps: int, seeds: Sequence[int], trial: int = 120) -> Setup:
    """Trials of random inputs, each held for a tenth of one; targets at its end; an update after every second trial."""
    graph = build(circuit).with_(seeds=len(seeds))
    arrays = {**graph.arrays, **normal_start(circuit, list(seeds), {}), **circuit.arrays}
    graph = graph.with_(arrays=arrays, synapses=tuple(replace(s, role="per_seed") for s in graph.synapses))
    held = trial // 10
    count, generator = -(-steps // held), np.random.default_rng(seeds[0])
    patterns = {"begin": (1.0,) + (0.0,) * (trial - 1), "recall": (0.0,) * (trial - 3 * held) + (1.0,) * (3 * held),
                "learn": (1.0,), "apply": (0.0,) * (2 * trial - 1) + (1.0,)}
    columns = dict(input_columns(graph))
    samples = np.zeros((count, max(part.stop for part in columns.values())))
    samples[:, columns["cue.level"]] = generator.uniform(0, 1, (count, circuit.cues))
    samples[:, columns["readout.target"]] = np.eye(2)[np.repeat(generator.integers(0, 2, -(-count // 10)), 10)[:count]]
    phase = Phase("training", count, held, gates=tuple(patterns.items()))
    return Setup(graph, Protocol((phase,), ("training",)), samples, tuple(seeds))


ORACLE = Oracle(reference_setup, wanted, trajectory)
