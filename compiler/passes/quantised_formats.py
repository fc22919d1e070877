"""Formats of a circuit on its way into fixed point: of weights, quantities, what is sent and what rules read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cortexc.compiler.ir import CortexError, Expression, Graph, Mirror, PlasticityRule, Population, Projection
from cortexc.compiler.ir.expressions import WEIGHT_SUM, Name, Prev, leaves, previous
from cortexc.compiler.ir.synapses import synapses_of
from cortexc.compiler.passes.fixed_point import Extent, Format, extent, format_for
from cortexc.compiler.passes.legalise import expanded
from cortexc.compiler.passes.name_products import is_table, quantities
from cortexc.compiler.passes.widths import STATES_HEADROOM, Options


class Formats:
    """The circuit has a cell type per population and a class per projection. `arrays`: rounded on the way; `extents`:
    what every quantity is when it has been rounded; `coarse`: units of postsynaptic factors that bring a rule's scale
    into the engine's range; `copies`: (population, quantity, `sent` or `factor`) -> name of the copy."""

    def __init__(self, graph: Graph, options: Options):
        self.graph, self.options, self.arrays = graph, options, dict(graph.arrays)
        self.weights = {q.name: options.format(f"{q.name}.w", options.widths.weights,
                                               unsigned=graph.class_of(q.name).bounds[0] >= 0)
                        for q in graph.projections if graph.class_of(q.name).kind.weighted}
        given = [(mirror, self.weights[mirror.source], self._mirror_formats(mirror)) for mirror in graph.mirrors]
        for each in given:
            self._check_mirror(*each)
        self.extents: dict[str, Extent] = {}
        self.coarse: dict[str, Format] = {}
        self.copies: dict[tuple[str, str, str], str] = {}
        for p in graph.populations:
            self._note_extents(p)
        for p in graph.populations:
            self._note_small(p)
        for q in graph.projections:
            self._note_coarse(q)

    # ---- weights

    def _mirror_formats(self, mirror: Mirror) -> int:
        """What is added or multiplied with is rounded so that the result has the units of the target, which may get
        another format. Returns the fraction of the result. Raises E615 for what is drawn."""
        words = [operation.partition(":") for operation in mirror.operations]
        fraction = self.weights[mirror.source].fraction
        found = self._format_of_target(mirror, [word for word, _, _ in words])
        for index, (word, _, name) in enumerate(words):
            if word == "redraw":
                raise CortexError("E615", f"mirror '{mirror.target}' draws real numbers, which have no integer form.",
                                  "Use fixed magnitudes.")
            before = fraction
            fraction = 0 if word == "sign" else found.fraction if word == "times" else fraction
            if word == "add" and not any(later == "times" for later, _, _ in words[index:]):
                fraction = found.fraction
            if name:
                unit = replace(found, fraction=fraction - before if word == "times" else fraction)
                self.arrays[name] = unit.round(self.arrays[name])
        self.weights[mirror.target] = found
        return fraction

    def _format_of_target(self, mirror: Mirror, words: list[str]) -> Format:
        """A copy's is that of its source, with a bit more where something is added. Signs and multiples of weights
        keep the target's own, multiples with a unit no coarser than the source's."""
        source, target = self.weights[mirror.source], self.weights[mirror.target]
        if "sign" in words:
            return target
        if "times" in words:
            finer = max(source.fraction - target.fraction, 0)
            return replace(target, bits=target.bits + finer, fraction=target.fraction + finer)
        return Format(source.bits + source.unsigned + ("add" in words), source.fraction)

    def _check_mirror(self, mirror: Mirror, source: Format, fraction: int) -> None:
        """Raises E615 where later mirrors changed the formats that this one was given."""
        found = self.weights[mirror.target]
        if self.weights[mirror.source].fraction > source.fraction or fraction > found.fraction:
            raise CortexError("E615", f"mirror '{mirror.target} = {mirror.source}' gives weights that are no whole "
                                      f"numbers of the units of '{mirror.target}', {found.unit:g}.",
                              "Give the weights of both one format, and declare mirrors before those that copy on.")

    # ---- quantities

    def _note_extents(self, p: Population) -> None:
        cell = self.graph.cell(p.cell)
        for name in (*cell.inputs, *(n for n, _ in cell.noise), *(e.name for e in cell.equations)):
            self.extents[f"{p.name}.{name}"] = self.format(p, name).extent
        for parameter in cell.parameters:
            name = f"{p.name}.{parameter.name}"
            found = format_for(float(np.abs(self.arrays[name]).max(initial=0.0)), self.options.widths.states)
            self.arrays[name] = found.round(self.arrays[name])
            self.extents[name] = found.extent

    def _note_small(self, p: Population) -> None:
        """Quantities that need no rounding, such as spikes."""
        for e in self.graph.cell(p.cell).equations:
            if e.name not in previous(e.expression) and not is_table(e.expression):
                small = self.exact(p, e.name, e.expression)
                if small.bits < self.options.widths.messages:
                    self.extents[f"{p.name}.{e.name}"] = small

    def format(self, p: Population, name: str) -> Format:
        """Of a quantity within its cell."""
        equation, widths = self.graph.cell(p.cell).equation(name), self.options.widths
        if equation and is_table(equation.expression):
            return self.options.format(f"{p.name}.{name}", widths.values)
        return self.options.format(f"{p.name}.{name}", widths.states, headroom=STATES_HEADROOM)

    def exact(self, p: Population, name: str, expression: Expression) -> Extent:
        """Of an equation before it is rounded. Raises E610, E611."""
        return extent(expression, lambda node: self.leaf(p, node.name), lambda _: Extent(0, 0.0),
                      f"equation '{name}' of population '{p.name}'")

    def leaf(self, p: Population, name: str) -> Extent:
        """Of what an equation reads."""
        if name.startswith("gate."):
            return Extent(0, 1.0)
        if any(port.name == name for port in self.graph.cell(p.cell).ports):
            return self._port(p, name)
        jitter = name.endswith("_jitter") and f"{p.name}.{name}" not in self.extents
        return Extent(24, 1.0) if jitter else self.extents[f"{p.name}.{name}"]

    def _port(self, p: Population, port: str) -> Extent:
        """The exact sum of all currents, at worst."""
        fraction, largest = 0, 0.0
        for q in self.graph.into(p.name, port):
            message = self._sent(q)
            weight = self.weights.get(q.name, Format(2, 0))
            fraction = max(fraction, message.fraction + weight.fraction)
            largest += message.largest * weight.largest * self._fan_in(q)
        return Extent(fraction, largest)

    def _fan_in(self, q: Projection) -> int:
        kind = self.graph.class_of(q.name).kind
        if kind.pairs:
            return 1
        if kind.listed:
            return int(np.bincount(synapses_of(self.graph, q).post, minlength=1).max())
        return q.convolution.taps if q.convolution else self.graph.population(q.pre).size

    # ---- what leaves a cell

    def is_wire(self, q: Projection) -> bool:
        """One without weights is a wire within a neuron and narrows nothing."""
        return not self.graph.class_of(q.name).kind.weighted

    def message(self, q: Projection) -> str:
        """What a projection carries by its new name."""
        message = self.graph.class_of(q.name).message
        return message if self.is_wire(q) else self.copies.get((q.pre, message, "sent"), message)

    def _sent(self, q: Projection) -> Extent:
        """What a projection carries."""
        name = f"{q.pre}.{self.graph.class_of(q.name).message}"
        return self.extents[name] if self.is_wire(q) else self.narrowed(name, "sent")

    def narrowed(self, name: str, kind: str) -> Extent:
        """A quantity with the width of a message (`sent`) or `factor`."""
        whole, widths = self.extents[name], self.options.widths
        bits = widths.messages if kind == "sent" else widths.factors
        if kind == "factor" and name in self.coarse:
            return self.coarse[name].extent
        if whole.bits < bits:
            return whole
        if name + "_copy" in self.options.formats:
            return self.options.format(name + "_copy", bits).extent
        return format_for(min(self.options.peaks.get(name, whole.largest), whole.largest), bits).extent

    def owner(self, q: Projection, name: str) -> tuple[str, str]:
        """(population, quantity) of what a rule reads."""
        side, _, quantity = name.partition(".")
        return {"pre": q.pre, "post": q.post}.get(side, ""), quantity

    def kind(self, q: Projection, name: str) -> str:
        """How a quantity gets to a rule: with the message, unless that is wider than a factor, or as a factor."""
        sent = name == f"pre.{self.graph.class_of(q.name).message}"
        return "sent" if sent and self.options.widths.messages <= self.options.widths.factors else "factor"

    def is_jittered(self, name: str) -> bool:
        """Whether what rules read of a quantity is rounded at random."""
        return name in self.coarse or self.options.factor_rounding == "stochastic"

    def kept(self, q: Projection, name: str) -> Format:
        """Of what a rule's state, or its optimiser by its kind, keeps at the synapse."""
        return self.options.format(f"{q.name}.{name}", self.options.widths.tags)

    def _note_coarse(self, q: Projection) -> None:
        rule = self.graph.rule_of(q)
        if rule is None or not self.options.least_scale:
            return
        moved = self.kept(q, rule.optimiser.kind) if rule.optimiser.traits.integers else self.weights[q.name]
        try:
            terms = expanded(rule.increment)
        except ValueError:  # which is no sum of products
            return
        for term in terms:
            if len(term.pre) != 1 or len(term.post) != 1 or not isinstance(term.post[0], Name | Prev):
                continue
            (x,), (y,) = (list(quantities(side[0])) for side in (term.pre, term.post))
            given = self.narrowed(".".join(self.owner(q, x.name)), self.kind(q, x.name))
            name = ".".join(self.owner(q, y.name))
            own = self.narrowed(name, "factor")
            needed = self.options.least_scale * moved.unit / (abs(term.scale) * 2.0**-given.fraction)
            fraction = -int(np.ceil(np.log2(needed)))
            if fraction < own.fraction:
                self.coarse[name] = Format(max(2, own.bits + 1 - (own.fraction - fraction)), fraction)


def read_of_cells(rule: PlasticityRule | None) -> list[Name | Prev]:
    """Quantities of both cells that a rule reads."""
    return [node for e in (rule.expressions if rule else ()) for node in leaves(e)
            if node.name.startswith(("pre.", "post.")) and node.name != WEIGHT_SUM]
