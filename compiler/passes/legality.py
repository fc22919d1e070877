"""What a chip's learning engine says of every rule: legal and its form, or the reasons why not and the nearest rule.

    rule hebbian (W): not legal
      because the term in w has the scale 2^-29; exponents of loihi2 begin at -7
      nearest: none: the term in w has the scale 2^-29 ...
    rule stdp (V): legal
      dw = 2^-3*y0*x1 - 2^-4*x0*y1; x0 = pre.spike; x1 = 0.875*x1 + x0; y0 = post.spike; y1 = 0.875*y1 + y0

A form that is printed has been run against the rule as written (`engine_check`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cortexc.compiler.ir import Graph
from cortexc.compiler.passes.engine_limits import Limits, has_engine
from cortexc.compiler.passes.engine_text import Verdict, verdict
from cortexc.compiler.passes.legalise import legalised
from cortexc.compiler.passes.normal_form import TooManyTerms
from cortexc.compiler.passes.read_sets import read_sets
from cortexc.compiler.passes.rule_terms import NoProduct, RuleTerms
from cortexc.compiler.passes.specialise import specialised
from cortexc.hardware_maps import HardwareMap

UNCHECKED = ("learning.graded_pre_traces", "learning.max_products")

# ---- reports


@dataclass(frozen=True)
class RuleReport:
    """One plastic projection on one map. `form`: the rule in the engine's words, where it has them; `nearest`: that of
    the nearest legal rule, where the rule is not legal itself; `runs`: what `precision.map` makes of a legal rule,
    where that is another form."""

    projection: str
    rule: str
    legal: bool
    form: str
    reasons: tuple[str, ...]
    nearest: str
    runs: str = ""

    @property
    def excludes(self) -> bool:
        """Whether there is no legal rule near it either."""
        return not self.legal and (not self.nearest or self.nearest.startswith("none"))

    @property
    def text(self) -> str:
        return f"rule '{self.rule}' of projection '{self.projection}': {'; '.join(self.reasons)}"


def rule_reports(graph: Graph, hardware: HardwareMap, credit: str = "held") -> list[RuleReport]:
    """One per projection that learns or is overwritten by a mirror, in declaration order."""
    written, legal = specialised(graph), legalised(graph, hardware, credit)
    mirrored, found = {m.target for m in graph.mirrors}, []
    for q in graph.projections:
        rule = graph.rule_of(q)
        if rule or q.name in mirrored:
            own, nearest = _judged(written, q.name, hardware), _judged(legal, q.name, hardware)
            best = f"none: {nearest.reasons[0]}" if nearest.reasons else nearest.form
            runs = best if not own.reasons and nearest.form != own.form else ""
            found.append(RuleReport(q.name, rule.name if rule else "mirror", not own.reasons, own.form, own.reasons,
                                    best if own.reasons else "", runs))
    return found


def _judged(graph: Graph, name: str, hardware: HardwareMap) -> Verdict:
    q = graph.projection(name)
    rule = graph.rule_of(q)
    elsewhere = (reason for found in read_sets(graph) if found.projection == q.name for reason in found.elsewhere)
    illegal = [rule.optimiser.traits.illegal] if rule and rule.optimiser.traits.illegal else []
    reasons = tuple(dict.fromkeys((*elsewhere, *illegal)))
    if not rule or not has_engine(hardware):
        return Verdict("", reasons)
    try:
        found = verdict(RuleTerms(graph, q), Limits(hardware))
    except (NoProduct, TooManyTerms) as error:
        found = Verdict("", (str(error),))
    return Verdict("" if reasons else found.form, (*reasons, *found.reasons))


# ---- text


def unpublished(hardware: HardwareMap) -> list[str]:
    """What the map does not know of its engine, with what was looked for."""
    return [f"{name} ({hardware.scalar(name).source})" for name in UNCHECKED if hardware.value(name) is None]


def legality_text(graph: Graph, hardware: HardwareMap, credit: str = "held") -> str:
    """The reports; projections that read the same are listed together."""
    groups: dict[RuleReport, list[str]] = {}
    for r in rule_reports(graph, hardware, credit):
        groups.setdefault(replace(r, projection=""), []).append(r.projection)
    lines = [f"on {hardware.name}: {hardware.title}"]
    for r, projections in groups.items():
        lines.append(f"rule {r.rule} ({', '.join(projections)}): {'legal' if r.legal else 'not legal'}")
        lines += [f"  {r.form}"] if r.form else []
        lines += [f"  because {reason}" for reason in r.reasons]
        lines += [f"  nearest: {r.nearest}"] if r.nearest else []
        lines += [f"  with precision.map: {r.runs}"] if r.runs else []
    lines += [f"never published, so not checked: {name}" for name in unpublished(hardware)]
    return "\n".join(lines) + "\n"
