"""What a pass is, and how a list of passes runs: valid graph in, valid graph out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from cortexc.compiler.ir import CortexError, Graph, show_graph, unknown, verify
from cortexc.compiler.ir.errors import check_type
from cortexc.compiler.ir.limits import BEYOND

SAME = "same"
BITS = {SAME: "to the bit", "algebra": "equal algebraically, about 1e-16 of a value per step",
        "meaning": "says what du/dt means, by each cell's integrator", "rounded": "rounds to fixed point",
        "other": "another circuit, where a rule is not legal", "unstated": "not stated"}
"""What a pass may do to the numbers of a run, in float64."""


@dataclass(frozen=True)
class Request:
    """What the user asks to observe; a pass removes only what nothing observes. Outputs are always observed.

    Names: `population.quantity`, `projection.w`, `projection.increment`, `projection.current`,
    `projection.<optimiser>` and `projection.<state>`. `everything` observes all that the graph has.
    """

    observed: frozenset[str] = frozenset()
    everything: bool = False

    def observes(self, *names: str) -> bool:
        """Whether any of the names is observed."""
        return self.everything or not self.observed.isdisjoint(names)


class Pass(Protocol):
    """A frozen dataclass whose fields are its options. It may also have `fidelity`, a key of `BITS`."""

    name: ClassVar[str]

    def apply(self, graph: Graph, request: Request) -> Graph: ...


@dataclass(frozen=True)
class Record:
    """One pass that ran: how long it took, the text of the graph it left, whether that is another than before, and
    what the pass may do to bits (a key of `BITS`)."""

    name: str
    seconds: float
    text: str
    changed: bool = True
    bits: str = "unstated"

    @property
    def keeps_bits(self) -> bool:
        """Whether a run has the bits that it would have without the pass."""
        return self.bits == SAME or not self.changed

    @property
    def effect(self) -> str:
        return BITS[self.bits] if self.changed else "nothing to do"


@dataclass(frozen=True)
class PassReport:
    graph: Graph
    records: tuple[Record, ...]

    def after(self, name: str) -> str:
        """The graph's text after a pass. Raises E261 for a pass that did not run."""
        for record in self.records:
            if record.name == name:
                return record.text
        raise unknown("E261", "pass", name, [record.name for record in self.records])


def run_passes(graph: Graph, passes: Iterable[Pass], request: Request | None = None,
               done: Sequence[Record] = ()) -> PassReport:
    """Verifies before and after each pass. `done`: those that made the graph. E262: unknown observed name; E263: a
    pass failed."""
    check_type("run_passes", graph, Graph, "a Graph", "cortexc.parse_graph reads text.")
    request, records = request or Request(), list(done)
    if not done:
        verify(graph)
    known = observable(graph)
    for name in sorted(request.observed - known):
        raise unknown("E262", f"observed quantity of graph '{graph.name}'", name, known)
    before = show_graph(graph)
    for each in passes:
        start = time.perf_counter()
        graph = _run(each, graph, request, [record.name for record in records])
        seconds, text = time.perf_counter() - start, show_graph(graph)
        records.append(Record(each.name, seconds, text, text != before, getattr(each, "fidelity", "unstated")))
        before = text
    return PassReport(graph, tuple(records))


def _run(each: Pass, graph: Graph, request: Request, before: list[str]) -> Graph:
    who = f"pass '{each.name}' (after {', '.join(before) or 'no other pass'})"
    try:
        result = each.apply(graph, request)
    except CortexError as error:
        raise CortexError(error.code, f"{who}: {error.message}", error.hint) from error
    except Exception as error:
        raise CortexError("E263", f"{who} failed on graph '{graph.name}': {type(error).__name__}: {error}.",
                          "This is a fault of the compiler; leave the pass out.") from error
    try:
        verify(result, units=False)
    except CortexError as error:
        if error.code in BEYOND:
            raise CortexError(error.code, f"{who}: {error.message}", error.hint or "Use shorter names.") from error
        raise CortexError("E263", f"{who} left a graph that is not valid: {error.code} {error.message}",
                          "This is a fault of the compiler; leave the pass out.") from error
    return result


def observable(graph: Graph) -> set[str]:
    """Every name that a request may observe."""
    found: set[str] = set()
    for population in graph.populations:
        cell = graph.cell(population.cell)
        quantities = [*(e.name for e in cell.equations), *(p.name for p in cell.ports), *cell.inputs,
                      *(name for name, _ in cell.noise)]
        found |= {f"{population.name}.{quantity}" for quantity in quantities}
    for projection in graph.projections:
        rule = graph.rule_of(projection)
        learnt = ("increment", *rule.learnt) if rule else ()
        weights = ("w",) if graph.class_of(projection.name).kind.weighted else ()
        found |= {f"{projection.name}.{quantity}" for quantity in ("current", *weights, *learnt)}
    return found
