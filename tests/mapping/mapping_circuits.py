"""Small circuits for the mapping tests; their arrays are never needed. And maps that differ in one number."""

from dataclasses import replace

from msgspec.structs import replace as changed

from cortexc.compiler.ir import Graph, parse_graph
from cortexc.hardware_maps import HardwareMap

TEXT = """
graph small
  dt 1
  gate learn
cell source
  input value
  state spike = 0
  send spike = where(value > 0, 1, 0)
  message spike
cell lif
  port basal @ basal
  port apical @ apical
  parameter threshold 1 = 1
  state u = 0
  state spike = 0
  receive u = prev(u) * (1 - prev(spike)) + basal + apical
  receive spike = where(u > threshold, 1, 0)
  message spike
cell graded
  port basal @ basal
  parameter tau ms = 10
  state u = 0
  receive u = prev(u) + dt * (basal - prev(u)) / tau
  message u
rule hebb
  parameter eta 1 = 0.1
  increment eta * post.spike * pre.spike
rule adam_hebb
  parameter eta 1 = 0.1
  increment eta * post.spike * pre.spike
  optimiser adam(0.1, 0.9, 0.999, 1e-8)
synapse plastic
  message spike
  port basal
  rule hebb
synapse heavy
  message spike
  port basal
  rule adam_hebb
synapse fixed
  message spike
  port basal
synapse back
  message spike
  port apical
synapse numbers
  message u
  port basal
synapse line
  message spike
  port apical
  connectivity one_to_one
synapse kernel
  message spike
  port basal
  connectivity convolution
"""


def circuit(*lines: str) -> Graph:
    """The cells above with these populations and projections."""
    return parse_graph(TEXT + "\n".join(lines) + "\n")


def with_limit(hardware: HardwareMap, name: str, value: float) -> HardwareMap:
    return replace(hardware, scalars={**hardware.scalars, name: changed(hardware.scalars[name], value=value)})


def chain(sources: int = 20, cells: int = 30, more: int = 10, synapse: str = "plastic", cell: str = "lif",
          options: str = "gate=learn") -> Graph:
    return circuit(f"population input source {sources}", f"population A {cell} {cells} area=one",
                   f"population B lif {more} area=two", f"projection W {synapse} input -> A {options}",
                   "projection V fixed A -> B", "projection F back B -> A")
