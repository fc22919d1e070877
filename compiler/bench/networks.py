"""Spiking circuits as other simulators are told of them, and their programs under their own Pythons.

X186 another simulator that cannot be run.
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
from typing import Any

import numpy as np

from cortexc.compiler.experiments.experiment import Experiment
from cortexc.compiler.experiments.tables import Model, Run
from cortexc.compiler.experiments.tasks.simulate import Simulate
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.microcircuits import brunel, potjans_diesmann
from cortexc.compiler.microcircuits.brunel import Brunel
from cortexc.compiler.microcircuits.potjans_diesmann import PotjansDiesmann

Network = dict[str, Any]
PEERS = Path(__file__).parent / "peers"
PROGRAMS = {"nest": ("nest", PEERS / "nest_network.py"), "brian2": ("brian2", PEERS / "brian2_network.py"),
            "cortexc": ("cortexc", PEERS / "cortexc_network.py")}
"""Simulator -> the module that its Python must have, and the program."""
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
    module = PROGRAMS[peer][0]
    if found is None:
        raise CortexError("X186", f"there is no Python '{wanted}' for {peer}.",
                          f"Name it: --set {peer}=/path/to/python.")
    if subprocess.run([found, "-c", f"import {module}"], capture_output=True, env=_environment(peer)).returncode:
        raise CortexError("X186", f"'{found}' cannot import {module}.",
                          f"Install it there, or name another Python: --set {peer}=/path/to/python.")
    return found


def run_peer(peer: str, python: str, request: Network) -> dict[str, Any]:
    """What its program answers. Raises X186 with the last lines of what it said."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "request.json", Path(folder) / "answer.npz"
        asked.write_text(json.dumps(request))
        done = subprocess.run([python, str(PROGRAMS[peer][1]), str(asked), str(answer)], capture_output=True, text=True,
                              env=_environment(peer), timeout=SECONDS, cwd=folder)
        if done.returncode or not answer.is_file():
            raise CortexError("X186", f"{peer} failed: {' '.join(done.stderr.strip().splitlines()[-3:])}.")
        with np.load(answer) as arrays:
            return {name: array if array.ndim else array.item() for name, array in arrays.items()}


def _environment(peer: str) -> dict[str, str]:
    """One core; for other Pythons without this one's packages."""
    own = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return own | {"OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": os.pathsep.join(sys.path)} if peer == "cortexc" else {})
