"""Fixed point of an experiment: ranges from a calibration run in float, then the passes to integers; and its formats,
with the error that each can make and the deviation that was measured.

X160 a format that cannot be read; X161 one that the quantity cannot have; X162 no fixed point; X163 a quantity that is
not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from cortexc.compiler.backends.lowering.program import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.experiments.compilation import Compiled, compile_experiment, watched
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.sampling import Sampler, measured
from cortexc.compiler.experiments.tables import Precision
from cortexc.compiler.experiments.tasks.plans import Plan
from cortexc.compiler.experiments.underflow import Underflow, merged, out_of_reach, zeroed_arrays
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.expressions import Lookup, walk
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.passes.engine import least_scale
from cortexc.compiler.passes.fixed_point import Format, format_for
from cortexc.compiler.passes.group_weights import Parts, parts_of, whole_of
from cortexc.compiler.passes.legalise import the_map
from cortexc.compiler.passes.quantise import Quantise
from cortexc.compiler.passes.widths import HEADROOM, TAG, TAGGED, Widths, formats_of

LEAST_BITS, MOST_BITS, MOST_SYNAPTIC, MOST_FRACTION = 2, 32, 24, 60
LEAST_STOCK = 2.0**-4
"""Least scale of a rule with Lava's rounding: 3 bits of mantissa, of which a LearningDense loses nothing."""
WEIGHTS_EVERY = 100
"""Steps between two looks at the weights of a calibration run."""
CLOSELY, STRIDE = 20_000, 101
"""A calibration run is looked at after each of its first 20,000 steps, then once in 101 (a prime: presentations are
cut at every place)."""


def quantise_pass(precision: Precision, peaks: dict[str, float], graph: Graph, parts: Parts) -> Quantise:
    """`parts`: projections that became groups, whose formats those of the projection are. Raises X160, X161, X163."""
    widths = Widths(**{name: getattr(precision, name) for name in Widths.__dataclass_fields__})
    formats: dict[str, Format] = {}
    for name, text in sorted(precision.formats.items(), key=lambda item: "*" not in item[0]):  # single names come last
        chosen = [known for known in peaks if fnmatchcase(known, name) or fnmatchcase(whole_of(known, parts), name)]
        formats |= {each: _checked(each, _format(each, text, peaks), graph) for each in chosen or [name]}
    least = least_scale(the_map(precision.map), precision.factors) if precision.map else 0.0
    least = LEAST_STOCK if precision.map and precision.rounding == "lava" else least
    return Quantise(peaks, widths, precision.rounding, formats, precision.count, least, precision.factor_rounding)


def _format(name: str, text: str, known: dict[str, float]) -> Format:
    found = re.fullmatch(r"(u?)(\d+)(?:\.(-?\d+))?", text)
    if not found:
        raise CortexError("X160", f"precision.formats: '{text}' of '{name}' cannot be read.",
                          "Write BITS.FRACTION, such as 24.16 (u8.9 without a sign), or BITS alone.")
    if name.removesuffix("_copy") not in known:
        raise unknown("X163", "quantity in precision.formats", name, known)
    unsigned, bits, fraction = bool(found[1]), int(found[2]), found[3]
    if fraction is None:
        return format_for(known[name.removesuffix("_copy")] * HEADROOM, bits, unsigned)
    return Format(bits, int(fraction), unsigned)


def _checked(name: str, found: Format, graph: Graph) -> Format:
    """Weights and tags of at most 24 bits, as their products must fit 53; without a sign what has none."""
    owner, _, quantity = name.partition(".")
    projection = next((q for q in graph.projections if q.name == owner), None)
    most = MOST_SYNAPTIC if projection else MOST_BITS
    if not LEAST_BITS <= found.bits <= most or abs(found.fraction) > MOST_FRACTION:
        raise CortexError(
            "X161", f"precision.formats: '{name}' has {found.bits} bits of which {found.fraction} are fraction; bits "
                    f"are {LEAST_BITS} to {most}, those of the fraction {-MOST_FRACTION} to {MOST_FRACTION}.")
    if found.unsigned and not (projection and quantity == "w" and graph.class_of(owner).bounds[0] >= 0):
        raise CortexError("X161", f"precision.formats: '{name}' is without a sign; only weights that cannot be "
                                  "negative are.", "Leave the leading u out.")
    return found


def calibrate(graph: Graph, plan: Plan, seeds: list[int], steps: int,
              sampler: Sampler | None = None) -> dict[str, float]:
    """Name -> greatest magnitude seen of every quantity, weight and tag in the first `steps` steps of training.
    `sampler`: takes its samples on the way."""
    equations = {f"{p.name}.{e.name}" for p in graph.populations for e in graph.cell(p.cell).equations}
    weights = {f"{q.name}.w" for q in graph.projections if graph.class_of(q.name).kind.weighted}
    runner = Native(lower(graph, frozenset(equations | weights)), training(plan.protocol), plan.samples, seeds)
    moving, synaptic = _slots(runner, graph)
    peaks = dict.fromkeys([*moving, *synaptic], 0.0)
    end = min(steps, runner.feed.total)
    while (step := runner.position) < end:
        if sampler:
            sampler.before(runner, step)
        runner.run(1 if step < CLOSELY else min(STRIDE, end - step))
        if sampler:
            sampler.after(runner, step)
        _raise(peaks, runner, moving)
        if step % WEIGHTS_EVERY == 0 or step >= CLOSELY:
            _raise(peaks, runner, synaptic)
    _raise(peaks, runner, synaptic)
    for p in graph.populations:
        for parameter in graph.cell(p.cell).parameters:
            array = graph.arrays[f"{p.name}.{parameter.name}"]
            peaks[f"{p.name}.{parameter.name}"] = float(np.abs(array).max(initial=0.0))
    return peaks


@dataclass
class Calibration:
    """A run in real numbers, for a plan's experiment: ranges, and samples of what could become 0."""

    precision: Precision
    plan: Plan
    seeds: list[int]

    def __call__(self, written: Graph, graph: Graph) -> Quantise:
        """Raises X160, X161, X163."""
        protocol, steps = training(self.plan.protocol), self.precision.calibration_steps
        self.sampler = Sampler(graph, protocol, min(steps, protocol.total, CLOSELY))
        self.peaks = calibrate(graph, self.plan, self.seeds, steps, self.sampler)
        return quantise_pass(self.precision, self.peaks, graph, parts_of(written, graph))

    def underflow(self, after: Graph) -> list[Underflow]:
        """What became 0 when the calibrated graph was quantised to `after`."""
        sampler, before = self.sampler, self.sampler.graph
        certain = out_of_reach(before, after, sampler.protocol, self.peaks, self.precision.rounding)
        return [*zeroed_arrays(before, after), *merged(measured(sampler, after), certain)]


def training(protocol: Protocol) -> Protocol:
    """The protocol without its validations and tests, in which targets and rules rest, and without recordings."""
    kept = tuple(name for name in protocol.sequence if not name.startswith(("validation", "test")))
    phases = tuple(replace(phase, records=()) for phase in protocol.phases)
    return replace(protocol, phases=phases, sequence=kept or protocol.sequence, streams=())


def _slots(runner: Native, graph: Graph) -> tuple[list[str], list[str]]:
    """Slots of cells and tags, and of weights."""
    owners = {q.name for q in graph.projections}
    names = [n for n in runner.group.slot_names if "#" not in n and not n.startswith(("table.", "mirror "))]
    synaptic = [n for n in names if n.split(".")[0] in owners]
    kept = {f"{q.name}.{name}" for q in graph.projections if (rule := graph.rule_of(q)) for name in rule.learnt}
    tags = [n for n in synaptic if n in kept]
    return [n for n in names if n not in synaptic] + tags, [n for n in synaptic if n.endswith(".w")]


def _raise(peaks: dict[str, float], runner: Native, names: list[str]) -> None:
    for name in names:
        values = runner.group.view(runner.memory, name)
        peaks[name] = max(peaks[name], float(values.max(initial=0.0)), -float(values.min(initial=0.0)))


# ---- formats, with their errors


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
    lines: list[tuple[str, ...]] = [("quantity", "format", "limit", "worst rounding", "became 0", "increments lost",
                                     "measured deviation", "of a range of")]
    lines += [(r.quantity, r.format, f"{r.limit:.4g}", f"{r.worst:.3g}", _share(r.zero), _share(r.lost),
               *("-" if each is None else f"{each:.3g}" for each in (r.deviation, r.range))) for r in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
                   for line in lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g} %"
