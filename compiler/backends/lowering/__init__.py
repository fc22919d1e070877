"""From a graph to a program: memory slots, generated kernels and one table of operations.

`lower(graph, observed)` is all that a backend needs; `Program.select(group)` cuts it for one process.
"""

from cortexc.compiler.backends.lowering.program import GroupProgram, Program, lower

__all__ = ["GroupProgram", "Program", "lower"]
