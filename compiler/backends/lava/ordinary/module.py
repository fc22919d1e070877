"""A circuit as a folder of ordinary Lava.

`network_lava.py` has a process class per cell type and synapse class and the process `Circuit` of all of them;
`arrays.npz` holds what it begins with.

E531 what ordinary Lava does not say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.backends.lava.ordinary.batch import batch_axes
from cortexc.compiler.backends.lava.ordinary.cells import cell_class
from cortexc.compiler.backends.lava.ordinary.naming import LAVA, attribute
from cortexc.compiler.backends.lava.ordinary.phased import PhasedCell, PhasedSynapse
from cortexc.compiler.backends.lava.ordinary.synapses import rule_reads, synapse_class
from cortexc.compiler.backends.lava.ordinary.template import IMPORTS, STOCK_IMPORTS, STOCK_LISTS, support_text
from cortexc.compiler.backends.lava.ordinary.twin import joined
from cortexc.compiler.backends.lava.ordinary.wiring import Parts, build_text, circuit_text, wires
from cortexc.compiler.backends.lava.stock import nothing_stock
from cortexc.compiler.backends.quoting import docstring
from cortexc.compiler.backends.start import Start
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.expressions import number
from cortexc.compiler.ir.model import Array, Equation, Graph, Population, Projection
from cortexc.compiler.ir.schedule import Segment, message_depth, schedule
from cortexc.compiler.passes.stock_phases import PhasePlan, phase_plan


@dataclass
class CircuitModule:
    """The text of a module, and the arrays that its circuit begins with."""

    text: str
    arrays: dict[str, Array]


@dataclass
class Fixed:
    """A circuit in fixed point. `begins`: first values of every Var, `fixed/PROCESS/VAR`."""

    graph: Graph
    begins: dict[str, Array]

    @property
    def called(self) -> set[str]:
        return {name for part in _parts(self.graph).all.values() for name in part.called}


def write_circuit(graph: Graph, folder: Path, fixed: Fixed | None = None, stock: bool = False,
                  learning_phase: bool = True) -> Path:
    """Writes `network_lava.py` and `arrays.npz`; returns the folder. Raises what `circuit_module` raises."""
    made = circuit_module(graph, fixed, stock, learning_phase)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network_lava.py").write_text(made.text, encoding="utf-8")
    arrays: dict[str, Any] = dict(made.arrays)
    np.savez(folder / "arrays.npz", **arrays)
    return folder


def circuit_module(graph: Graph, fixed: Fixed | None = None, stock: bool = False,
                   learning_phase: bool = True) -> CircuitModule:
    """Of a graph without derivatives, with `fixed` also in fixed point; with `stock`, of a graph in fixed point, on
    Lava's own Dense and LearningDense wherever they are exact. `learning_phase`: where it learns, with the same bits.
    Raises E521 where they are nowhere, E531 for what is not there, and what `Start` raises."""
    parts = _parts(graph, _stock_plan(graph) if stock else PhasePlan(), learning_phase)
    wired = joined(parts, _parts(fixed.graph, None, learning_phase)) if fixed else wires(parts)
    texts = _name_classes(parts)
    _check_members(parts)
    for name in (*parts.all, *parts.plan.stock):
        parts.names[name] = attribute(name, [*parts.names.values(), *parts.classes.values()])
    own = [*texts, build_text(parts, wired), circuit_text(parts)]
    called = {name for part in parts.all.values() for name in part.called} | (fixed.called if fixed else set())
    lists = any(each.listed for each in parts.plan.stock.values())
    imports = [IMPORTS, *([STOCK_IMPORTS] if parts.plan.stock else []), *([STOCK_LISTS] if lists else [])]
    head = ["\n".join([docstring(_about(graph)), "\n\n".join(imports)]), "\n".join(_constants(graph))]
    text = "\n\n\n".join([*head, *support_text("\n".join(own), called), *own])
    return CircuitModule(text + "\n", {**parts.arrays, **(fixed.begins if fixed else {})})


def _constants(graph: Graph) -> list[str]:
    sizes = [f"{axis} = {getattr(graph, axis)}" for axis in batch_axes(graph)]
    return [f"dt = np.float64({number(graph.dt)})  # ms", *sizes]


def _parts(graph: Graph, plan: PhasePlan | None = None, learning_phase: bool = True) -> Parts:
    check(graph)
    order, plan = schedule(graph), plan or PhasePlan()
    given = {p.name: (_equations(graph, p.name, order), _sends(graph, p)) for p in graph.populations}
    own = [q for q in graph.projections if is_a_process(graph, q) and q.name not in plan.stock]
    if plan.stock:
        cells = {name: PhasedCell(graph, name, *each, plan).write() for name, each in given.items()}
        synapses = {q.name: PhasedSynapse(graph, q, plan).write() for q in own}
    else:
        cells = {name: cell_class(graph, name, *each) for name, each in given.items()}
        synapses = {q.name: synapse_class(graph, q, learning_phase) for q in own}
    return Parts(graph, Start(graph), cells, synapses, plan=plan)


def _stock_plan(graph: Graph) -> PhasePlan:
    if graph.batch != 1:
        raise _not_there(f"graph '{graph.name}' has {graph.seeds} seeds and {graph.samples} samples, and Lava's own "
                         "Dense and LearningDense take one", "Use one seed and minibatches of 1, or stock off.")
    plan = phase_plan(graph)
    if not plan.stock:
        raise nothing_stock(graph, plan.why)
    return plan


def check(graph: Graph) -> None:
    """Raises E531 for what ordinary Lava does not say yet."""
    for population in graph.populations:
        if not population.size:
            raise _not_there(f"population '{population.name}' has no cells", "Leave it out.")


def _check_members(parts: Parts) -> None:
    """Of the circuit, whose Vars and ports are called PART_MEMBER."""
    taken = {*LAVA, *(f"gate_{gate}_in" for gate in parts.graph.gates)}
    for name, part in parts.all.items():
        own = part.text.members() | (part.text.fixed.members() if part.text.fixed else set())
        own -= {port for ports in part.gates.values() for port in ports}
        own -= set() if name in parts.cells else {*part.text.ports, *(part.text.fixed.ports if part.text.fixed else ())}
        if both := sorted(taken & {f"{name}_{each}" for each in own}):
            raise _not_there(f"'{both[0]}', of '{name}', would be the name of two members of the circuit",
                             "Rename one of the two.")
        taken |= {f"{name}_{each}" for each in own}


def _not_there(what: str, hint: str) -> CortexError:
    return CortexError("E531", f"{what}; ordinary Lava does not have that yet.", hint)


def is_a_process(graph: Graph, projection: Projection) -> bool:
    """A message that arrives as it is, in the step in which it is sent, goes from cell to cell."""
    return graph.class_of(projection.name).kind.weighted or message_depth(graph, projection) > 0


def _equations(graph: Graph, population: str, order: Iterable[object]) -> list[Equation]:
    names = [name for segment in order if isinstance(segment, Segment) and segment.population == population
             for name in segment.equations]
    equations = {e.name: e for e in graph.cell_of(population).equations}
    return [equations[name] for name in names]


def _sends(graph: Graph, population: Population) -> list[str]:
    """The messages of a cell, and what rules read of any population of its kind."""
    cell = graph.cell(population.cell)
    found = list(cell.messages)
    for projection in graph.projections:
        for side, quantity in rule_reads(graph.rule_of(projection)):
            if graph.population(projection.pre if side == "pre" else projection.post).cell == cell.name:
                found.append(quantity)
    return list(dict.fromkeys(found))


def _name_classes(parts: Parts) -> list[str]:
    """The texts of all classes; parts with the same one share it."""
    made: dict[tuple[str, str], str] = {}
    for name, part in parts.all.items():
        key = part.text.base, part.text.text("_")
        taken = {word for each in made.values() for word in _with_models(each)}
        if key not in made:
            made[key] = next(each for each in _candidates(part.text.base) if not _with_models(each) & taken)
        parts.classes[name] = made[key]
    texts = {parts.classes[name]: part.text for name, part in parts.all.items()}
    return [text.text(name) for name, text in texts.items()]


def _with_models(name: str) -> set[str]:
    return {name, f"{name}Model", f"{name}FixedModel"}


def _candidates(base: str) -> Iterable[str]:
    return (base, *(f"{base}{i}" for i in range(2, 100_000)))


def _about(graph: Graph) -> str:
    return f"""Circuit {graph.name} as ordinary Lava, generated by cortexc.

A process class per cell type and synapse class, and the process `Circuit` of all of them:

    from network_lava import Circuit

    circuit = Circuit()
    circuit.run(RunSteps(100), Loihi2SimCfg())
"""
