"""Spiking circuits beside NEST and Brian2, one core each.

`cortexc bench spiking --set nest=PYTHON --set brian2=PYTHON`. Every simulator runs in a process of its own, one after
the other; times are those of the processor (of Brian2's steps: of the clock). A step is one of 0.1 ms, after a warm-up.
`bytes_per_synapse` is what the process grew by, over the number of synapses; `held_bytes_per_synapse` what our program
keeps of the network. Rates are equal where those of every
population differ by less than `RATES` of NEST's, and are otherwise no ground for a ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cortexc.compiler.bench import checked
from cortexc.compiler.bench.networks import described, python_of, run_peer
from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.microcircuits.brunel import Brunel
from cortexc.compiler.microcircuits.potjans_diesmann import PotjansDiesmann

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
SIMULATORS = ("cortexc", "nest", "brian2")


def rows(options: Mapping[str, Any]) -> list[Row]:
    """Raises X182 and X184. Where a simulator is missing, its rows say so (X186)."""
    options = checked(options, "cases", "simulators", "nest", "brian2", "seed", "granularity", "backend")
    for key, known in (("cases", CASES), ("simulators", SIMULATORS)):
        for name in options.get(key, ()):
            if name not in known:
                raise unknown("X182", f"name in {key}", name, known)
    return [row for name in options.get("cases", CASES) for row in _case(name, options)]


def _case(name: str, options: Mapping[str, Any]) -> list[Row]:
    found = {peer: _measured(name, peer, options) for peer in options.get("simulators", SIMULATORS)}
    nest = found.get("nest", {})
    return [row | _ratios(row, nest) for row in found.values()]


def _measured(name: str, peer: str, options: Mapping[str, Any]) -> Row:
    case, head = CASES[name], {"case": name, "simulator": peer}
    network = described(case.circuit)
    request = {**network, "seed": int(options.get("seed", 1)), "warm_ms": case.warm_ms, "ms": case.ms,
               "backend": options.get("backend", "native"), "granularity": options.get("granularity", "network")}
    try:
        answer = run_peer(peer, python_of(peer, options), request)
    except CortexError as error:
        return {**head, "missing": f"{error.code} {error.message}"}
    synapses = number_of_synapses(network)
    return {**head, "synapses": synapses, "step_us": answer["step_s"] * 1e6, "build_s": answer["build_s"],
            "bytes_per_synapse": answer["bytes"] / synapses or None,
            "held_bytes_per_synapse": answer["held_bytes"] / synapses if "held_bytes" in answer else None,
            "rates_hz": {each["name"]: _rate(answer[f"spikes.{each['name']}"], each["n"], case)
                         for each in network["populations"]}}


def number_of_synapses(network: Mapping[str, Any]) -> int:
    sizes = {each["name"]: each["n"] for each in network["populations"]}
    return sum(each["number"] * (sizes[each["post"]] if each["rule"] == "fixed_indegree" else 1)
               for each in network["projections"])


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
