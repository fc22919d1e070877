"""Fixed point of an experiment: ranges from a calibration run in float, then the passes to integers.

X160 a format that cannot be read; X161 one that the quantity cannot have; X163 a quantity that is not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from cortexc.compiler.backends.lowering.program import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.experiments.sampling import Sampler, measured
from cortexc.compiler.experiments.tables import Precision
from cortexc.compiler.experiments.tasks.plans import Plan
from cortexc.compiler.experiments.underflow import Underflow, merged, out_of_reach, zeroed_arrays
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.passes.engine import least_scale
from cortexc.compiler.passes.fixed_point import Format, format_for
from cortexc.compiler.passes.group_weights import Parts, parts_of, whole_of
from cortexc.compiler.passes.legalise import the_map
from cortexc.compiler.passes.quantise import Quantise
from cortexc.compiler.passes.widths import HEADROOM, Widths

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
