"""What a circuit is. Import from here: `from cortexc.compiler.ir import Graph, CellType, ...`."""

from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.expressions import (
    Binary,
    Call,
    Expression,
    Name,
    Negate,
    Number,
    Prev,
    Where,
    parse,
    show,
)
from cortexc.compiler.ir.model import (
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
from cortexc.compiler.ir.reader import parse_circuit, parse_graph
from cortexc.compiler.ir.text import show_graph
from cortexc.compiler.ir.verify import problems, verify

__all__ = ["Binary", "Call", "CellType", "Convolution", "CortexError", "Equation", "Expression", "Graph", "Mirror",
           "Name", "Negate", "Noise", "Number", "Optimiser", "Parameter", "PlasticityRule", "Population", "Port",
           "Prev", "Projection", "State", "SynapseClass", "Where", "parse", "parse_circuit", "parse_graph", "problems",
           "show", "show_graph", "unknown", "verify"]
