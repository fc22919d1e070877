"""The formats of a quantised experiment, with the error that each can make and the deviation that was measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexc.compiler.experiments.compilation import Compiled, compile_experiment, watched
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.precision import training
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.expressions import Lookup, walk
from cortexc.compiler.ir.text import aligned
from cortexc.compiler.passes.group_weights import whole_of
from cortexc.compiler.passes.widths import TAG, TAGGED, formats_of


@dataclass(frozen=True)
class FormatRow:
    """One quantity: its format; `worst`: the greatest error of one rounding (half a unit, or a unit where it is
    rounded at random; of a table also what its straight lines miss of a smooth function, an eighth of its greatest
    second difference); `deviation`: the greatest difference from the float circuit in `steps` steps of training, which
    both learn, of a copy from what it copies, of a tag from the optimiser's sum (None where the float circuit has no
    such quantity); `range`: its greatest magnitude there."""

    quantity: str
    format: str
    unit: float
    limit: float
    worst: float
    zero: float | None
    lost: float | None
    deviation: float | None
    range: float | None


def format_rows(experiment: Experiment, steps: int = 500) -> list[FormatRow]:
    """Raises X162 for an experiment without fixed point."""
    if not experiment.precision.weights:
        raise CortexError("X162", f"experiment '{experiment.name}' is float64 throughout.",
                          "Set precision.weights, as in --set precision.weights=8.")
    fixed, other = (compile_experiment(e.with_run(backend="native")) for e in (experiment, experiment.in_float()))
    graph = fixed.report.graph
    formats, missed = dict(formats_of(graph)), _missed(graph)
    shared = {name: known for name in formats
              if (known := _known(other.report.graph, whole_of(name, fixed.parts)))}
    errors, ranges = _measured(fixed, other, shared, steps)
    zero, lost = ({u.quantity: u.share for u in fixed.underflow if (u.kind == "array") == arrays}
                  for arrays in (True, False))
    return [FormatRow(name, str(f), f.unit, f.largest, (f.unit / 2 if nearest else f.unit) + missed.get(name, 0.0),
                      zero.get(name, 0.0) if name.endswith(".w") else None, lost.get(name),
                      errors.get(name), ranges.get(name)) for name, (f, nearest) in formats.items()]


def _missed(graph: Graph) -> dict[str, float]:
    """What straight lines between the entries of a table miss."""
    found = {}
    for p in graph.populations:
        for e in graph.cell(p.cell).equations:
            for node in walk(e.expression):
                if isinstance(node, Lookup) and node.linear:
                    curved = np.abs(np.diff(graph.arrays[f"table.{node.table}"], 2)).max(initial=0.0) / 8
                    found[f"{p.name}.{e.name}"] = float(curved)
    return found


def _known(graph: Graph, name: str) -> str:
    """What the float circuit calls it: of a copy what it copies, of a tag the optimiser's sum; empty if it has none."""
    owner, _, quantity = name.partition(".")
    for q in graph.projections:
        if q.name == owner:
            rule = graph.rule_of(q)
            kind = rule.optimiser.kind if rule else "none"
            own = quantity == "w" or rule is not None and quantity in {s.name for s in rule.states}
            return name if own else f"{owner}.{kind}" if quantity == TAG and kind in TAGGED else ""
    source = quantity.removesuffix("_sent").removesuffix("_factor")
    known = any(p.name == owner and graph.cell(p.cell).equation(source) for p in graph.populations)
    return f"{owner}.{source}" if known else ""


def _measured(fixed: Compiled, real: Compiled, names: dict[str, str], steps: int) -> tuple[dict, dict]:
    """Greatest difference and greatest magnitude of every quantity, both circuits side by side. `names`: here -> in
    the float circuit."""
    runs = [watched(c, kept, training(c.plan.protocol)) for c, kept in ((fixed, names), (real, names.values()))]
    errors, ranges = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    masks = {name: fixed.report.graph.arrays[f"{name.partition('.')[0]}.mask"] for name in names
             if whole_of(name, fixed.parts) != name}
    for _ in range(min(steps, *(run.feed.total for run in runs))):
        for run in runs:
            run.run(1, block=1)
        for name in names:
            ours, theirs = (run.value(known) * masks.get(name, 1.0) for run, known in zip(
                runs, (name, names[name]), strict=True))
            errors[name] = max(errors[name], float(np.abs(ours - theirs).max(initial=0.0)))
            ranges[name] = max(ranges[name], float(np.abs(theirs).max(initial=0.0)))
    return errors, ranges


def format_text(rows: list[FormatRow]) -> str:
    """One line per quantity."""
    lines = [("quantity", "format", "limit", "worst rounding", "became 0", "increments lost", "measured deviation",
              "of a range of")]
    lines += [(r.quantity, r.format, f"{r.limit:.4g}", f"{r.worst:.3g}", _share(r.zero), _share(r.lost),
               _number(r.deviation), _number(r.range)) for r in rows]
    return "\n".join(aligned(lines)) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g} %"
