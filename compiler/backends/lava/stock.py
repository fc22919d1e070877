"""Stock Lava processes in an emitted network: which, their constructors, and how messages reach them.

A stock Dense sends what it summed in the last step, then receives; a stock LIF receives, computes and sends. So a
Dense between two stock LIFs is a delay of 1. Behind a Dense, a process of ours receives first of all, finishes the last
step (`compute_late`) and goes on as ever: what arrives there acts in the next step anyway (passes.stock sees to it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cortexc.compiler.backends.kernels.operations import slot_name
from cortexc.compiler.backends.lowering import Program, lower
from cortexc.compiler.backends.lowering.cuts import Transfer
from cortexc.compiler.backends.lowering.program import GroupProgram
from cortexc.compiler.backends.quoting import quoted
from cortexc.compiler.ir import CortexError, Graph, Projection
from cortexc.compiler.ir.schedule import message_depth
from cortexc.compiler.passes.stock import StockPlan, stock_plan
from cortexc.compiler.passes.stock_forms import LifForm
from cortexc.compiler.passes.stock_rules import DenseForm

Wire = tuple[str, str, str, str]
"""(source process, its port, target process, its port)."""
IMPORTS = """from lava.magma.core.learning.constants import GradedSpikeCfg
from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
from lava.proc.dense.process import Dense, LearningDense
from lava.proc.lif.process import LIF
from lava.utils.weightutils import SignMode
"""
MODELS = {"LIF": "ProbedLif", "Dense": "ProbedDense", "LearningDense": "ProbedLearningDense"}
"""Stock process -> its stock model with a probe behind it (cortexc.lava_procs.stock)."""


STOCK_NAMES = (*MODELS, *MODELS.values(), "GradedSpikeCfg", "Loihi3FLearningRule", "SignMode")
"""What a network with stock processes imports besides."""


def stock_program(graph: Graph, observed: frozenset[str] = frozenset()) -> tuple[Program, StockPlan]:
    """The lowered graph, at granularity `population`, and what of it stock processes compute. Raises E521 where that
    is nothing."""
    plan = stock_plan(graph, observed)
    if not plan.populations and not plan.projections:
        raise nothing_stock(graph, plan.why)
    messages = {f"{q.pre}.{graph.class_of(q.name).message}" for q in map(graph.projection, plan.projections)}
    factors = {f"{graph.projection(q).post}.{name}" for q, form in plan.projections.items() if form.rule
               for name in form.rule.factors}
    return lower(graph, observed | messages | factors), plan


def nothing_stock(graph: Graph, reasons: Mapping[str, str]) -> CortexError:
    name, why = next(iter(reasons.items()), (graph.name, "it has no projection"))
    return CortexError("E521", f"no part of '{graph.name}' is a stock Lava process; '{name}': {why}.",
                       "cortexc explain --stock gives every reason.")


@dataclass(frozen=True)
class StockProcess:
    """One stock process: its class, the text that makes it, and its own names for slots."""

    process: str
    source: str
    names: dict[str, str]


def stock_process(program: Program, stock: StockPlan, name: str) -> StockProcess | None:
    """The process that stands for this group, if one does."""
    group = program.select(name)
    if name in stock.populations:
        return _lif(program.graph, group, name, stock.populations[name])
    if name in stock.projections:
        return _dense(program.graph, name, stock.projections[name])
    return None


def _lif(graph: Graph, group: GroupProgram, name: str, form: LifForm) -> StockProcess:
    slots = {slot_name(name, form.u): "u", slot_name(name, form.v): "v", slot_name(name, form.spike): "spike"}
    slots |= {slot_name(name, form.bias): "bias"} if isinstance(form.bias, str) else {}
    names = {slot: local for slot, local in slots.items() if slot in group.offsets}
    bias = 'work.integers("bias")' if isinstance(form.bias, str) else str(form.bias)
    size = graph.population(name).size
    source = (f'LIF(name=work.name, work=work, shape=({size},), u=work.integers("u"), v=work.integers("v"), '
              f"du={form.du}, dv={form.dv},\n                  vth={form.vth}, bias_mant={bias}, "
              f"bias_exp={form.bias_exp})")
    return StockProcess("LIF", source, names)


def _dense(graph: Graph, name: str, form: DenseForm) -> StockProcess:
    process, more = ("LearningDense", _rule_source(form)) if form.rule else ("Dense", "")
    post, pre = (graph.population(p).size for p in (graph.projection(name).post, graph.projection(name).pre))
    source = (f"{process}(name=work.name, work=work, weights=work.weights(({post}, {pre}), {form.scale!r}), "
              f"weight_exp={form.exponent},\n                  sign_mode=SignMode.{form.sign}, num_weight_bits=8, "
              f"num_message_bits={form.message_bits}{more})")
    return StockProcess(process, source, {f"{name}.w": "w"})


def _rule_source(form: DenseForm) -> str:
    rule, pad = form.rule, ",\n                  "
    assert rule is not None
    graded = "OVERWRITE" if rule.graded else "USE_REGULAR_IMPULSE"
    return (f"{pad}graded_spike_cfg=GradedSpikeCfg.{graded}{pad}learning_rule=Loihi3FLearningRule("
            f"dw={quoted(rule.dw)}, x1_impulse={rule.x1_impulse}, x1_tau={rule.x1_tau!r}, t_epoch=1, "
            "rng_seed=work.seed)")


# ---- what moves


def own_transfers(program: Program, stock: StockPlan) -> list[Transfer]:
    """Transfers between processes of ours."""
    replaced = {*stock.populations, *stock.projections}
    left = [replace(t, targets=tuple(g for g in t.targets if g not in replaced))
            for t in program.transfers if t.source not in replaced]
    return [t for t in left if t.targets]


def sends_to_stock(program: Program, stock: StockPlan, group: str) -> dict[int, list[str]]:
    """Position of an operation of the group -> slots that it makes and stock processes receive."""
    wanted = {slot for q in map(program.graph.projection, stock.projections) for owner, slot, _ in _inputs(
        program.graph, stock, q) if owner == group and group not in stock.populations}
    found: dict[int, list[str]] = {}
    for slot in sorted(wanted):
        writers = [i for i, o in enumerate(program.step) if o.group == group and slot in o.writes]
        found.setdefault(writers[-1], []).append(slot)
    return found


def _inputs(graph: Graph, stock: StockPlan, q: Projection) -> list[tuple[str, str, str]]:
    """(population, its slot, port of the Dense) of what a projection's process receives."""
    form = stock.projections[q.name].rule
    found = [(q.pre, slot_name(q.pre, graph.class_of(q.name).message), "s_in")]
    return found + [(q.post, slot_name(q.post, name), f"s_in_y{i}")
                    for i, name in enumerate(form.factors if form else (), 1)]


def late_currents(program: Program, stock: StockPlan, group: str) -> list[str]:
    """Currents that a stock Dense brings to this group at the start of the next step."""
    graph = program.graph
    return [slot for q, slot in _currents(program, stock, group) if message_depth(graph, graph.projection(q)) == 0]


def early_currents(program: Program, stock: StockPlan, group: str) -> list[str]:
    """Currents that a stock Dense brings in time: of messages that are a step old."""
    late = late_currents(program, stock, group)
    return [slot for _, slot in _currents(program, stock, group) if slot not in late]


def _currents(program: Program, stock: StockPlan, group: str) -> list[tuple[str, str]]:
    """(projection, its current) of what stock processes bring to a group of ours that reads it."""
    read = {slot for o in program.step if o.group == group for slot in o.reads}
    return [(q, f"{q}.current") for q in stock.projections if program.graph.projection(q).post == group
            and group not in stock.populations and f"{q}.current" in read]


def stock_wires(program: Program, stock: StockPlan, names: dict[str, dict[str, str]]) -> list[Wire]:
    """Connections that begin or end at a stock process; `names`: of every group, slot -> its own name."""
    wires: list[Wire] = []
    for q in map(program.graph.projection, stock.projections):
        for owner, slot, port in _inputs(program.graph, stock, q):
            out = "s_out" if owner in stock.populations else f"{names[owner][slot]}_out"
            wires.append((owner, out, q.name, port))
        if q.post in stock.populations:
            wires.append((q.name, "a_out", q.post, "a_in"))
        elif f"{q.name}.current" in names[q.post]:
            wires.append((q.name, "a_out", q.post, f"{names[q.post][f'{q.name}.current']}_in"))
    return wires
