"""A small circuit of two cells whose rule and traces a test writes."""

from __future__ import annotations

import re

import numpy as np

from cortexc.compiler.ir import Graph, parse_graph, verify
from cortexc.compiler.passes.legalise import the_map
from cortexc.compiler.passes.legality import RuleReport, rule_reports

TEXT = """
graph rules
  gate learn
  gate apply
cell source
  input value
  state spike = 0
  state x = 0
  state slow = 0
  state rate = 0
  send spike = where(value > 0, 1, 0)
  send x = 0.875 * prev(x) + spike
  send slow = 0.75 * prev(slow) + spike
  send rate = value
PRE  message MESSAGE
cell target
  port drive @ drive
  input force
  input reward
  state v = 0
  state spike = 0
  state y = 0
  state dopamine = 0
  state other = 0
  send spike = where(force > 0, 1, 0)
  send y = 0.875 * prev(y) + spike
  receive v = 0.5 * prev(v) + drive
  receive other = 0.25 * prev(other) + drive
  factor dopamine = reward
POST  message spike
  message y
rule learning
RULE
synapse plastic
  message MESSAGE
  port drive
  limits -4 4
  rule learning
population A source 3
population B target 2
projection W plastic A -> B gate=learn
"""
STDP = ["increment 0.125 * pre.x * post.spike - 0.0625 * pre.spike * post.y"]
REWARD = ["state e = 0", "update e = 0.9375 * prev(e) + pre.x * post.spike - 0.5 * pre.spike * post.y",
          "increment 0.125 * post.dopamine * e"]


def circuit(rule: list[str], pre: list[str] = (), post: list[str] = (), message: str = "spike") -> Graph:  # type: ignore[assignment]
    """`pre`, `post`: further lines of the cells, over those of the same name."""
    text = TEXT.replace("RULE", "\n".join(f"  {line}" for line in rule)).replace("MESSAGE", message)
    for word, lines in (("PRE", pre), ("POST", post)):
        for line in lines:
            if len(line.split()) > 1 and line.split()[0] in ("send", "receive"):
                cell = "source" if word == "PRE" else "target"
                text = re.sub(rf"(cell {cell}\n(?:  .*\n)*?)  (send|receive) {line.split()[1]} = .*\n", r"\1", text)
        text = text.replace(word, "".join(f"  {line}\n" for line in lines), 1)
    graph = parse_graph(text).with_(arrays={"W.w": np.zeros((2, 3))})
    verify(graph)
    return graph


def report(graph: Graph, hardware: str) -> RuleReport:
    (found,) = rule_reports(graph, the_map(hardware))
    return found


def judged(rule: list[str], hardware: str, pre: list[str] = (), post: list[str] = (),  # type: ignore[assignment]
           message: str = "spike") -> RuleReport:
    return report(circuit(rule, pre, post, message), hardware)
