"""What a circuit is. Import from here: `from compiler.ir import Graph, CellType, ...`."""

from compiler.ir.errors import CortexError, unknown
from compiler.ir.expressions import Expression, parse, show
from compiler.ir.model import (
    CellType,
    Convolution,
    Equation,
    Graph,
    Mirror,
    Noise,
    Optimiser,
    Parameter,
    PlasticityRule,
    Population,
    Port,
    Projection,
    State,
    SynapseClass,
)
from compiler.ir.reader import parse_circuit, parse_graph
from compiler.ir.text import show_graph
from compiler.ir.verify import problems, verify

__all__ = ["CellType", "Convolution", "CortexError", "Equation", "Expression", "Graph", "Mirror", "Noise", "Optimiser",
           "Parameter", "PlasticityRule", "Population", "Port", "Projection", "State", "SynapseClass", "parse",
           "parse_circuit", "parse_graph", "problems", "show", "show_graph", "unknown", "verify"]
