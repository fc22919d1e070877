"""Targets that come as late as the output: with one step per area, that of a sample appears L steps after it."""

from __future__ import annotations

from dataclasses import replace

from cortexc.compiler.ir import Graph, parse_graph

UNDELAYED = "undelayed"
"""Gate: the teacher shows what comes in now, as at the start of an epoch, when nothing earlier is of use."""

DELAYED = """
cell delayed_source
  input value
  state shown = 0
  state rate = 0
  send shown = value
  send rate = where(gate.undelayed > 0, shown, {earlier})
  message rate
"""


def with_delayed_target(graph: Graph, steps: int) -> Graph:
    """The graph whose population `teacher` shows its input `steps` steps late; unchanged for 0."""
    if not steps:
        return graph
    cell = parse_graph(DELAYED.format(earlier="prev(" * steps + "shown" + ")" * steps)).cells
    populations = tuple(replace(p, cell="delayed_source") if p.name == "teacher" else p for p in graph.populations)
    gates = graph.gates if UNDELAYED in graph.gates else (*graph.gates, UNDELAYED)
    return graph.with_(cells=(*graph.cells, *cell), populations=populations, gates=gates)
