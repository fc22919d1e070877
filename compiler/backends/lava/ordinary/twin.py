"""Two models of every process: in real numbers and in fixed point, between which Lava's tags choose.

E531 circuits whose processes are not the same in fixed point.
"""

from __future__ import annotations

from collections.abc import Collection

from cortexc.compiler.backends.lava.ordinary.wiring import Parts, Wire, wires
from cortexc.compiler.ir.errors import CortexError


def joined(own: Parts, fixed: Parts) -> list[Wire]:
    """Gives every part its second model; returns the wires of both. An in-port that others feed in fixed point has a
    name of its own there."""
    if own.all.keys() != fixed.all.keys():
        apart = sorted(own.all.keys() ^ fixed.all.keys())
        raise CortexError("E531", f"in fixed point, other parts of graph '{own.graph.name}' are processes: "
                                  f"{', '.join(apart)}; ordinary Lava does not have that yet.",
                          "Use precision.groups = 1; or granularity population.")
    first, second = wires(own), wires(fixed)
    renamed = {}
    for name, part in fixed.all.items():
        for port in set(part.text.ins) & set(own.all[name].text.ins):
            if _sources(first, name, port) != _sources(second, name, port):
                renamed[name, port] = port.removesuffix("_in") + "_fixed_in"
                part.text.rename(port, renamed[name, port])
        own.all[name].text.fixed = part.text
        gates = own.all[name].gates
        gates.update({gate: list(dict.fromkeys([*gates.get(gate, ()), *ports])) for gate, ports in part.gates.items()})
    second = [(source, out, target, renamed.get((target, port), port)) for source, out, target, port in second]
    return list(dict.fromkeys([*first, *second]))


def _sources(wired: Collection[Wire], name: str, port: str) -> set[tuple[str, str]]:
    return {(source, out) for source, out, target, into in wired if (target, into) == (name, port)}
