"""Turns a partitioned program into a folder of ordinary Lava code.

One process per group. Groups that run the same kernels, send and receive in the same order share a process class:
at granularity `population` that is a class per cell type and synapse class. Names of slots become names of ports:
`P0.rate` is `rate` in P0's own process, `pre_rate` in a projection's, `P0_rate` elsewhere.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from safetensors.numpy import save

from cortexc.compiler.backends import loading, runtime
from cortexc.compiler.backends.feeding import noise_spec
from cortexc.compiler.backends.lava.naming import class_names, local_names
from cortexc.compiler.backends.lava.stock import (
    IMPORTS,
    MODELS,
    STOCK_NAMES,
    StockProcess,
    early_currents,
    late_currents,
    own_transfers,
    sends_to_stock,
    stock_process,
    stock_wires,
)
from cortexc.compiler.backends.lowering.c_module import c_source
from cortexc.compiler.backends.lowering.program import GroupProgram, Program
from cortexc.compiler.backends.quoting import comment, docstring, fresh, identifier, quoted
from cortexc.compiler.backends.recording import record_pieces
from cortexc.compiler.ir import Graph, show_graph
from cortexc.compiler.ir.model import Array
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.passes.stock import StockPlan
from cortexc.lava_procs.folder import ARRAYS, DESCRIPTION, DIGEST, KERNELS, digest, text_digest

PROTOCOLS = {
    "async": """from lava.magma.core.sync.protocols.async_protocol import AsyncProtocol as Protocol

from cortexc.lava_procs.group import AsyncGroupModel as GroupModel""",
    "loihi": """from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol as Protocol

from cortexc.lava_procs.group import LoihiGroupModel as GroupModel"""}
"""How Lava synchronises the processes: only by their messages, or step by step as a chip would."""

Event = tuple[str, str]
"""("compute", "FIRST, LAST"), ("send", NAME) or ("receive", NAME), in the process's own names; from a stock Dense
("receive_sum", NAME), and ("compute_late", "FIRST, LAST") for rows of the last step that waited for it."""
COMPUTING = ("compute", "compute_late")
OWN = StockPlan()
"""Nothing is a stock process."""


@dataclass
class GroupPlan:
    """One process: its events in order, its names, and the class that it shares. `integers`: what it sends to stock
    processes; `cells`: lengths of what comes from them; `stock`: the stock process that it is, if it is one."""

    name: str
    program: GroupProgram
    events: list[Event]
    names: dict[str, str]
    kernels: dict[str, str]
    class_name: str = ""
    integers: tuple[str, ...] = ()
    cells: dict[str, int] = field(default_factory=dict)
    stock: StockProcess | None = None


@dataclass
class NetworkPlan:
    groups: list[GroupPlan]
    connections: list[tuple[str, str, str, str]] = field(default_factory=list)
    """(source group, its port, target group, its port)."""


def plan_network(program: Program, stock: StockPlan = OWN) -> NetworkPlan:
    plans = {name: _plan_stock(program, stock, name) or _plan_group(program, name, stock) for name in program.groups}
    network = NetworkPlan(list(plans.values()))
    for transfer in own_transfers(program, stock):
        for target in transfer.targets:
            wire = (transfer.source, plans[transfer.source].names[transfer.name] + "_out", target,
                    plans[target].names[transfer.name] + "_in")
            network.connections += [wire] if wire not in network.connections else []
    network.connections += stock_wires(program, stock, {name: plan.names for name, plan in plans.items()})
    _join_components(network)
    _name_classes(program.graph, network)
    return network


def _name_classes(graph: Graph, network: NetworkPlan) -> None:
    """Processes with the same text share a class."""
    own = {plan.name: (plan.events, plan.kernels, plan.integers) for plan in network.groups if not plan.stock}
    found = class_names(graph, own, STOCK_NAMES if len(own) < len(network.groups) else ())
    for plan in network.groups:
        plan.class_name = found.get(plan.name, plan.class_name)


def _join_components(network: NetworkPlan) -> None:
    """Lava runs what is connected: circuits that fall apart are held together by a tick, sent first in every step."""
    edges = nx.Graph([(source, target) for source, _, target, _ in network.connections])
    edges.add_nodes_from(group.name for group in network.groups)
    first, *others = [next((g for g in network.groups if g.name in part and not g.stock), network.groups[0])
                      for part in nx.connected_components(edges)]
    tick = fresh("tick", {name for group in network.groups for name in group.names.values()})
    for group in others:
        network.connections.append((first.name, f"{tick}_out", group.name, f"{tick}_in"))
        group.events.insert(0, ("receive", tick))
    if others:
        first.events.insert(0, ("send", tick))


def _plan_stock(program: Program, stock: StockPlan, name: str) -> GroupPlan | None:
    found = stock_process(program, stock, name)
    if found is None:
        return None
    return GroupPlan(name, program.select(name), [], found.names, {}, found.process, stock=found)


def _plan_group(program: Program, name: str, stock: StockPlan = OWN) -> GroupPlan:
    group, transfers = program.select(name), own_transfers(program, stock)
    extra = sends_to_stock(program, stock, name)
    late, early = late_currents(program, stock, name), early_currents(program, stock, name)
    sent = [t.name for t in transfers if name == t.source or name in t.targets]
    slots = [*sent, *(slot for found in extra.values() for slot in found), *late, *early]
    names = local_names(program.graph, name, list(dict.fromkeys(slots)))
    events: list[Event] = [("receive_sum", names[slot]) for slot in late]
    kernels: dict[str, str] = {}
    first, row, last = 0, 0, len(events)
    events += [("receive_sum", names[slot]) for slot in early]  # after rows of the last step, which read the last ones
    for position, operation in enumerate(program.step):
        own = operation.group == name
        if own and (operation.label in stock.projections or set(operation.reads) & set(late)):
            _compute(events, kernels, group, first, row)
            if set(operation.reads) & set(late):
                events.insert(last, _late(kernels, group, row))
                last += 1
            first = row = row + 1
            continue
        row += own
        moves = [(("send" if t.source == name else "receive"), names[t.name]) for t in transfers
                 if t.position == position and name in (t.source, *t.targets)]
        moves += [("send", names[slot]) for slot in extra.get(position, ())]
        if moves:
            _compute(events, kernels, group, first, row)
            first = row
        events += dict.fromkeys(moves)
    _compute(events, kernels, group, first, row)
    sizes = {names[slot]: program.graph.population(name).size for slot in (*late, *early)}
    integers = tuple(dict.fromkeys(names[slot] for found in extra.values() for slot in found))
    return GroupPlan(name, group, events, names, kernels, integers=integers, cells=sizes)


def _late(kernels: dict[str, str], group: GroupProgram, row: int) -> Event:
    kernels[f"{row}, {row + 1}"] = group.step[row].kernel + ", of the last step"
    return "compute_late", f"{row}, {row + 1}"


def _compute(events: list[Event], kernels: dict[str, str], group: GroupProgram, first: int, last: int) -> None:
    if first == last:
        return
    span = f"{first}, {last}"
    events.append(("compute", span))
    kernels[span] = ", ".join(dict.fromkeys(o.kernel for o in group.step[first:last]))


# ---- text


def network_source(program: Program, synchronisation: str = "async", stock: StockPlan = OWN) -> str:
    """`network_lava.py`: process classes, process models, wiring."""
    plan = plan_network(program, stock)
    whole = len(plan.groups) == 1
    classes = {g.class_name: g for g in plan.groups if not g.stock}
    pairs = [_process(group) + "\n\n\n" + _model(group, whole) for group in classes.values()]
    models = {name: f"{name}Model" for name in classes} | {g.stock.process: MODELS[g.stock.process]
                                                           for g in plan.groups if g.stock}
    parts = [_header(program, plan, synchronisation), *pairs, _models_table(models), _build(plan), _main()]
    return "\n\n\n".join(parts)


def _header(program: Program, plan: NetworkPlan, synchronisation: str) -> str:
    about = f"""Circuit {program.graph.name} as a network of {len(plan.groups)} Lava processes, generated by cortexc.

Ordinary Lava code, meant to be read and edited: a process class per cell type and synapse class, its process model,
and the wiring. The arithmetic is in kernels.py; row numbers in `compute` are rows of this group's program.
Every process runs its part of one common order, so a receive never waits for a send that comes later in that order.

    python network_lava.py [STEPS]
"""
    return f'''{docstring(about)}
import sys

import cortexc.lava_procs  # before Lava, which needs a mend on Python 3.11 and newer
{"import numpy as np" + chr(10) if any(g.integers for g in plan.groups) else ""}\
{_stock_imports(plan)}\
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
{PROTOCOLS[synchronisation]}'''


def _stock_imports(plan: NetworkPlan) -> str:
    models = sorted({MODELS[g.stock.process] for g in plan.groups if g.stock})
    return f"{IMPORTS}from cortexc.lava_procs.stock import {', '.join(models)}\n" if models else ""


def _ports(plan: GroupPlan) -> list[tuple[str, str]]:
    """Each port once, however often a step uses it."""
    ports = [(name, "out" if kind == "send" else "in") for kind, name in plan.events if kind not in COMPUTING]
    return [(identifier(name), way) for name, way in dict.fromkeys(ports)]


def _process(plan: GroupPlan) -> str:
    lines = [f"class {identifier(plan.class_name)}(AbstractProcess):", f"    {docstring(_describe(plan))}", "",
             "    def __init__(self, work):", "        super().__init__(name=work.name, work=work)"]
    for name, way in _ports(plan):
        kind = "OutPort" if way == "out" else "InPort"
        lines.append(f'        self.{name}_{way} = {kind}(shape=(work.size("{name}"),))')
    return "\n".join(lines)


def _describe(plan: GroupPlan) -> str:
    receives = [n for n, way in _ports(plan) if way == "in"]
    sends = [n for n, way in _ports(plan) if way == "out"]
    return (f"Receives {', '.join(receives) or 'nothing'}; sends {', '.join(sends) or 'nothing'}.")


def _model(plan: GroupPlan, whole: bool) -> str:
    lines = [f"@implements({plan.class_name}, protocol=Protocol)", "@requires(CPU)",
             f"class {plan.class_name}Model(GroupModel):"]
    for name, way in _ports(plan):
        kind = f"Py{'Out' if way == 'out' else 'In'}Port"
        values = "np.int32" if way == "out" and name in plan.integers else "float"
        lines.append(f"    {name}_{way}: {kind} = LavaPyType({kind}.VEC_DENSE, {values})")
    lines += [*([""] if _ports(plan) else []), "    def step(self):"]
    if whole:
        return "\n".join([*lines, "        self.run_block()  # many network steps per Lava step"])
    lines.append("        self.begin()")
    for kind, name in plan.events:
        said = f"  # {comment(plan.kernels[name])}" if kind in COMPUTING else ""
        argument = name if kind in COMPUTING else quoted(name)
        lines.append(f"        self.{kind}({argument}){said}")
    return "\n".join([*lines, "        self.end()"])


def _models_table(models: dict[str, str]) -> str:
    rows = "\n".join(f"    {name}: {model}," for name, model in models.items())
    return f"MODELS = {{\n{rows}\n}}"


def _build(plan: NetworkPlan) -> str:
    lines = ["def build(works):", '    """The wired processes; `works` holds each group\'s memory and program."""',
             "    p = {}"]
    for group in plan.groups:
        bound = ", ".join(f"{quoted(local)}: {quoted(slot)}" for slot, local in group.names.items())
        work = f"works[{quoted(group.name)}].bind({{{bound}}}{f', {group.cells}' if group.cells else ''})"
        if group.stock:
            lines += [f"    work = {work}", f"    p[{quoted(group.name)}] = {group.stock.source}"]
        else:
            lines.append(f"    p[{quoted(group.name)}] = {group.class_name}({work})")
    for source, out, target, into in plan.connections:
        lines.append(f"    p[{quoted(source)}].{identifier(out)}.connect(p[{quoted(target)}].{identifier(into)})")
    return "\n".join([*lines, "    return list(p.values())"])


def _main() -> str:
    return '''if __name__ == "__main__":
    from cortexc.lava_procs.host import main

    main(__file__, sys.modules[__name__])
'''


# ---- folder


def emit(program: Program, protocol: Protocol, samples: Array, seeds: list[int], folder: Path, *, block: int,
         recorded_noise: Array | None = None, synchronisation: str = "async", stock: StockPlan = OWN) -> Path:
    """Writes the folder; `samples` is (rows, sample_width). Returns it. `stock`: groups that stock processes replace,
    which need Loihi's protocol."""
    synchronisation = "loihi" if stock.populations or stock.projections else synchronisation
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network_lava.py").write_text(network_source(program, synchronisation, stock), encoding="utf-8")
    groups = {name: program.select(name) for name in program.groups}
    kernels = {"kernels.py": program.source,
               "kernels.c": c_source(program, list(groups.values()), whole=len(groups) == 1)}
    for name, text in kernels.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "graph.ir").write_text(show_graph(program.graph), encoding="utf-8")
    for source in map(Path, (str(runtime.__file__), str(loading.__file__))):
        shutil.copyfile(source, folder / source.name)
    arrays = _arrays(protocol, groups, samples, recorded_noise)
    description = json.loads(json.dumps(_description(program, protocol, groups, seeds, block)))
    description[KERNELS] = {name: text_digest(text) for name, text in kernels.items()}
    description[DIGEST] = digest(description, arrays)
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
    (folder / ARRAYS).write_bytes(save(arrays))
    return folder


def _description(program: Program, protocol: Protocol, groups: dict[str, GroupProgram], seeds: list[int],
                 block: int) -> dict[str, Any]:
    noise = noise_spec(program.graph, seeds)
    return {"circuit": program.graph.name, "gates": list(program.graph.gates), "protocol": protocol.as_data(),
            "noise": vars(noise), "block": block, "owners": _owners(program),
            "groups": {name: {"n_step": len(g.step), "feed": _feed_kind(g),
                              "slots": {s: [g.offsets[s], program.slots.sizes[s]] for s in g.slot_names}}
                       for name, g in groups.items()}}


def _feed_kind(group: GroupProgram) -> str:
    return "full" if any(o.kind in ("load", "noise") for o in group.step) else "gates only"


def _owners(program: Program) -> dict[str, list[Any]]:
    """Slot -> (group, first, last, stride): who owns columns first..last of its rows."""
    return {slot: [[p.group, p.first, p.last, p.stride] for p in owners] for slot, owners in program.owners.items()}


def _arrays(protocol: Protocol, groups: dict[str, GroupProgram], samples: Array,
            recorded: Array | None) -> dict[str, Array]:
    arrays = {"samples": np.ascontiguousarray(samples, dtype=np.float64)}
    for name, group in groups.items():
        arrays[f"memory.{name}"] = group.memory()
        arrays[f"indices.{name}"] = group.indices()
        arrays[f"table.{name}"] = group.table.view(np.int64)
        arrays[f"pieces.{name}"] = record_pieces(group, protocol).view(np.int64)
    if recorded is not None:
        arrays["recorded_noise"] = np.ascontiguousarray(recorded, dtype=np.float64)
    return arrays
