"""`cortexc bench spiking --set nest=PYTHON --set brian2=PYTHON`: spiking circuits beside NEST and Brian2, one core
each.

Every simulator is told of the circuit in its own terms and runs in a process of its own, under its own Python, one
after the other; times are those of the processor (of Brian2's steps: of the clock). A step is one of 0.1 ms, after a
warm-up. `bytes_per_synapse` is what the process grew by, over the number of synapses; `held_bytes_per_synapse` what our
program keeps of the network. Rates are equal where those of every population differ by less than `RATES` of NEST's, and
are otherwise no ground for a ratio. X186: another simulator that cannot be run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cortexc.compiler.bench import checked, chosen
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.tables import Model, Run
from cortexc.compiler.experiments.tasks.simulate import Simulate
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.microcircuits import brunel, potjans_diesmann
from cortexc.compiler.microcircuits.brunel import Brunel
from cortexc.compiler.microcircuits.potjans_diesmann import PotjansDiesmann

Network = dict[str, Any]
PEERS = Path(__file__).parent / "peers"
PROGRAMS = {name: PEERS / f"{name}_network.py" for name in ("cortexc", "nest", "brian2")}
"""Simulator, whose name is that of the module which its Python must have -> the program."""
CIRCUITS = {"brunel": Brunel, "potjans-diesmann": PotjansDiesmann}
SECONDS = 3600


def described(circuit: Brunel | PotjansDiesmann) -> Network:
    """The populations and projections of a circuit, in NEST's units and names, and what it is made from."""
    told = _brunel(circuit) if isinstance(circuit, Brunel) else _potjans_diesmann(circuit)
    return {**told, "circuit": name_of(circuit), "options": options_of(circuit)}


def name_of(circuit: Brunel | PotjansDiesmann) -> str:
    return next(name for name, options in CIRCUITS.items() if isinstance(circuit, options))


def options_of(circuit: Brunel | PotjansDiesmann) -> dict[str, Any]:
    return {key: value for key, value in asdict(circuit).items() if key != "arrays"}


def circuit_of(network: Network) -> Brunel | PotjansDiesmann:
    """The circuit that was described."""
    made: Brunel | PotjansDiesmann = CIRCUITS[network["circuit"]](**network["options"])
    return made


def experiment_of(circuit: Brunel | PotjansDiesmann, warm_ms: float, ms: float, seed: int, backend: str = "native",
                  granularity: str = "network") -> Experiment:
    """Network and noise have this seed; spikes are recorded from the first step on."""
    name = name_of(circuit)
    return Experiment(
        name=name, model=Model(circuit=name, options=options_of(replace(circuit, network_seed=seed))),
        protocol=Simulate(duration_ms=warm_ms + ms, warm_up_ms=warm_ms, traces=0),
        run=Run(backend=backend, granularity=granularity, seeds=[seed]))  # type: ignore[arg-type]


def _brunel(circuit: Brunel) -> Network:
    cell = {"C_m": 1.0, "tau_m": brunel.TAU_M, "t_ref": 2.0, "E_L": 0.0, "V_reset": 10.0, "V_th": brunel.THETA}
    weights = {"E": circuit.J, "I": -circuit.g * circuit.J}
    populations = [{"name": name, "n": size, "model": "iaf_psc_delta", "parameters": cell, "v": 0.0,
                    "rate": 1000 * circuit.external_rate, "rate_weight": circuit.J, "rate_delay": circuit.delay}
                   for name, size in circuit.sizes.items()]
    projections = [{"pre": pre, "post": post, "rule": "fixed_indegree", "number": circuit.indegrees[pre],
                    "weight": weight, "delay": circuit.delay, "plastic": _rule(circuit, pre, 3 * circuit.J)}
                   for pre, weight in weights.items() for post in weights]
    return {"dt": circuit.dt, "populations": populations, "projections": projections}


def _potjans_diesmann(circuit: PotjansDiesmann) -> Network:
    cell = {"C_m": potjans_diesmann.CAPACITANCE, "tau_m": potjans_diesmann.TAU_M, "t_ref": 2.0, "E_L": -65.0,
            "V_reset": -65.0, "V_th": -50.0, "tau_syn_ex": potjans_diesmann.TAU_SYN,
            "tau_syn_in": potjans_diesmann.TAU_SYN}
    populations = [{"name": name, "n": size, "model": "iaf_psc_exp", "parameters": {**cell, "I_e": circuit.bias(name)},
                    "v": [-58.0, 10.0], "rate": circuit.poisson_rate(name), "rate_weight": circuit.weight,
                    "rate_delay": 1.5} for name, size in circuit.sizes.items()]
    projections = []
    for post in circuit.sizes:
        for pre in circuit.sizes:
            weight = circuit.weight_of(pre, post)
            projections.append({
                "pre": pre, "post": post, "rule": "fixed_total", "number": circuit.synapses(pre, post),
                "weight": [weight, potjans_diesmann.DEVIATION * abs(weight)],
                "delay": list(potjans_diesmann.DELAYS[pre[-1]]), "plastic": _rule(circuit, pre, 3 * circuit.weight)})
    return {"dt": circuit.dt, "populations": populations, "projections": [q for q in projections if q["number"]]}


def _rule(circuit: Brunel | PotjansDiesmann, pre: str, limit: float) -> dict[str, float] | None:
    """Of NEST's stdp_synapse; nothing where synapses keep their weights."""
    if not circuit.plastic or pre.endswith("I"):
        return None
    return {"lambda": circuit.learning_rate, "alpha": 1.0, "mu_plus": 0.0, "mu_minus": 0.0, "tau_plus": 20.0,
            "Wmax": limit}


def python_of(peer: str, options: Mapping[str, Any]) -> str:
    """The Python that runs a simulator: `--set nest=/path/bin/python`, or the one on PATH. Raises X186."""
    wanted = sys.executable if peer == "cortexc" else str(options.get(peer, "python3"))
    found = shutil.which(wanted)
    if found is None:
        raise CortexError("X186", f"there is no Python '{wanted}' for {peer}.",
                          f"Name it: --set {peer}=/path/to/python.")
    if subprocess.run([found, "-c", f"import {peer}"], capture_output=True, env=_environment(peer)).returncode:
        raise CortexError("X186", f"'{found}' cannot import {peer}.",
                          f"Install it there, or name another Python: --set {peer}=/path/to/python.")
    return found


def run_peer(peer: str, python: str, request: Network) -> dict[str, Any]:
    """What its program answers. Raises X186 with the last lines of what it said."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "request.json", Path(folder) / "answer.npz"
        asked.write_text(json.dumps(request))
        done = subprocess.run([python, str(PROGRAMS[peer]), str(asked), str(answer)], capture_output=True, text=True,
                              env=_environment(peer), timeout=SECONDS, cwd=folder)
        if done.returncode or not answer.is_file():
            raise CortexError("X186", f"{peer} failed: {' '.join(done.stderr.strip().splitlines()[-3:])}.")
        with np.load(answer) as arrays:
            return {name: array if array.ndim else array.item() for name, array in arrays.items()}


def _environment(peer: str) -> dict[str, str]:
    """One core; for other Pythons without this one's packages."""
    own = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return own | {"OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": os.pathsep.join(sys.path)} if peer == "cortexc" else {})


RATES = 0.25
Row = dict[str, Any]


class Case(NamedTuple):
    """A network, its warm-up and its time (ms)."""

    circuit: Brunel | PotjansDiesmann
    warm_ms: float
    ms: float


CASES = {
    "brunel-1250": Case(Brunel(order=250), 100.0, 500.0),
    "brunel-1250-stdp": Case(Brunel(order=250, plastic=True, learning_rate=1e-3), 100.0, 300.0),
    "brunel-12500": Case(Brunel(), 100.0, 100.0),
    "brunel-12500-stdp": Case(Brunel(plastic=True, learning_rate=1e-3), 100.0, 100.0),
    "potjans-diesmann-10%": Case(PotjansDiesmann(scale=0.1), 300.0, 300.0),
    "potjans-diesmann-10%-stdp": Case(PotjansDiesmann(scale=0.1, plastic=True, learning_rate=1e-3), 300.0, 100.0),
}


def rows(options: Mapping[str, Any]) -> list[Row]:
    """Raises X182 and X184. Where a simulator is missing, its rows say so (X186)."""
    options = checked(options, "cases", "simulators", "nest", "brian2", "seed", "granularity", "backend")
    made: list[Row] = []
    for name in chosen(options, "cases", CASES):
        found = {peer: _measured(name, peer, options) for peer in chosen(options, "simulators", PROGRAMS)}
        made += [row | _ratios(row, found.get("nest", {})) for row in found.values()]
    return made


def _measured(name: str, peer: str, options: Mapping[str, Any]) -> Row:
    case, head = CASES[name], {"case": name, "simulator": peer}
    network = described(case.circuit)
    request = {**network, "seed": int(options.get("seed", 1)), "warm_ms": case.warm_ms, "ms": case.ms,
               "backend": options.get("backend", "native"), "granularity": options.get("granularity", "network")}
    try:
        answer = run_peer(peer, python_of(peer, options), request)
    except CortexError as error:
        return {**head, "missing": f"{error.code} {error.message}"}
    sizes = {each["name"]: each["n"] for each in network["populations"]}
    synapses = sum(each["number"] * (sizes[each["post"]] if each["rule"] == "fixed_indegree" else 1)
                   for each in network["projections"])
    return {**head, "synapses": synapses, "step_us": answer["step_s"] * 1e6, "build_s": answer["build_s"],
            "bytes_per_synapse": answer["bytes"] / synapses or None,
            "held_bytes_per_synapse": answer["held_bytes"] / synapses if "held_bytes" in answer else None,
            "rates_hz": {name: _rate(answer[f"spikes.{name}"], size, case) for name, size in sizes.items()}}


def _rate(spikes: Any, size: int, case: Case) -> float:
    return float((spikes[0] >= case.warm_ms / case.circuit.dt).sum() / size / case.ms * 1000)


def _ratios(row: Row, nest: Row) -> Row:
    """Against NEST, in whose rows there are none."""
    if row["simulator"] == "nest" or "step_us" not in nest or "step_us" not in row:
        return {}
    equal = all(abs(rate - nest["rates_hz"][name]) <= RATES * max(nest["rates_hz"][name], 1.0)
                for name, rate in row["rates_hz"].items())
    return {"equal_rates": equal, "step_ratio": row["step_us"] / nest["step_us"] if equal else None,
            "build_ratio": row["build_s"] / nest["build_s"]}
