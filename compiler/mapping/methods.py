"""The ways of mapping a circuit that are compared: two baselines."""

from __future__ import annotations

from compiler.ir import Graph
from compiler.mapping.accounting import Accounting
from compiler.mapping.items import Cut, Rates
from compiler.mapping.problem import Mapping, MappingProblem
from compiler.mapping.sequential import sequential

METHODS = ("sequential", "one-population-per-core")


def mapped(graph: Graph, accounts: Accounting, method: str,
           rates: Rates) -> tuple[list[Cut], Mapping, MappingProblem | None]:
    """Cuts and cores by one method, and the problem if the method has made it."""
    cuts, mapping = sequential(accounts, together=method == "sequential")
    return cuts, mapping, None
