"""Names of a graph that backends can keep apart: those of the language (`cortexc.compiler.ir.verify.names_in_code`).

E511 a name that is no identifier; E512 a name that means something else there; E513 a group that cannot be divided so.
"""

from __future__ import annotations

from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.model import group_parts
from cortexc.compiler.ir.verify import names_in_code
from cortexc.compiler.passes.partition import splittable


def check_names(graph: Graph) -> None:
    """Raises E511, E512 or E513."""
    for problem in names_in_code(graph):
        raise CortexError("E511" if problem.code == "E209" else "E512", problem.message, problem.hint)
    for mirror in graph.mirrors:
        for name in (operation.partition(":")[2] for operation in mirror.operations):
            if name == "__metadata__" or name.startswith("table."):
                raise CortexError("E512", f"mirror '{mirror.target}' uses an array '{name}', a name that stands for "
                                          "something else in files.", "Rename it.")
    _check_groups(graph)


def _check_groups(graph: Graph) -> None:
    found = [(p.name, p.group, p) for p in graph.populations]
    found += [(q.name, q.group, graph.population(q.post)) for q in graph.projections]
    divided = [(name, group, population) for name, group, population in found if "+" in group]
    divisible = splittable(graph) if divided else frozenset()
    for name, group, population in divided:
        cells = sum(number for _, number in group_parts(group))
        if cells != population.size or population.name not in divisible:
            cannot = "" if population.name in divisible else " and cannot be divided"
            raise CortexError("E513", f"group '{group}' of '{name}' divides {cells} cells; population "
                                      f"'{population.name}' has {population.size}{cannot}.")
