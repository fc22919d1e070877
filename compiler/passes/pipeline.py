"""The one road from a circuit as written to one that can be lowered: every pass, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from cortexc.compiler.ir import Graph, unknown
from cortexc.compiler.ir.errors import check_type
from cortexc.compiler.passes.base import Pass, PassReport, Request, run_passes
from cortexc.compiler.passes.count_underflow import CountUnderflow
from cortexc.compiler.passes.defer_decay import DeferDecay
from cortexc.compiler.passes.discretise import Discretise
from cortexc.compiler.passes.eliminate_lookahead import EliminateLookahead
from cortexc.compiler.passes.fold import Fold
from cortexc.compiler.passes.fuse_update import FuseUpdate
from cortexc.compiler.passes.group_weights import GroupWeights, in_parts, parts_of
from cortexc.compiler.passes.hoist_constant_input import HoistConstantInput
from cortexc.compiler.passes.legalise import Legalise
from cortexc.compiler.passes.name_products import NameProducts
from cortexc.compiler.passes.partition import Partition
from cortexc.compiler.passes.quantise import Quantise


@dataclass(frozen=True)
class Target:
    """What a circuit is lowered for. `without`: names of passes that are left out.

    `legalise`: for the learning engine of a map. In fixed point, `groups` of weights may have units of their own,
    `products` get names, and `calibrate(as written, in real numbers)` runs what there is by then, for the ranges of its
    quantities; `count`: saturations and underflows are counted.
    """

    granularity: str = "network"
    cores: tuple[tuple[str, str], ...] = ()
    without: frozenset[str] = frozenset()
    legalise: Legalise | None = None
    groups: GroupWeights | None = None
    products: NameProducts | None = None
    calibrate: Callable[[Graph, Graph], Quantise] | None = None
    count: bool = False
    hoist: HoistConstantInput = HoistConstantInput()

    def kept(self, *passes: Pass | None) -> list[Pass]:
        return [each for each in passes if each and each.name not in self.without]


FLOAT = Target()


def run_pipeline(graph: Graph, request: Request | None = None, target: Target = FLOAT) -> PassReport:
    """Raises what the passes raise, and E262 for a quantity that is observed and has gone."""
    request = request or Request()
    real = (Discretise(), Fold(), EliminateLookahead(), target.legalise, target.groups, target.products)
    report = run_passes(graph, target.kept(*real), request)
    parts = parts_of(graph, report.graph) if target.groups else {}
    request = replace(request, observed=frozenset(in_parts(request.observed, parts)))
    fixed = target.calibrate and target.calibrate(graph, report.graph)
    counted = CountUnderflow() if fixed and target.count else None
    across = (target.hoist, FuseUpdate(), DeferDecay()) if target.granularity == "network" else ()
    last = target.kept(fixed, counted, *across, Partition(target.granularity, target.cores))
    return run_passes(report.graph, last, request, report.records)


PASSES: dict[str, type[Pass]] = {
    each.name: each for each in (Discretise, Fold, EliminateLookahead, HoistConstantInput, FuseUpdate, DeferDecay,
                                  Partition)}
"""Those that need no options, by name, in their order."""

PIPELINE: tuple[str, ...] = tuple(PASSES)


def pipeline(names: str | Iterable[str] = PIPELINE) -> list[Pass]:
    """The named passes (or the one) with their default options, in the order given. Raises E261 for an unknown name."""
    check_type("pipeline", names, Iterable, "names of passes")
    passes = []
    for name in [names] if isinstance(names, str) else names:
        if name not in PASSES:
            raise unknown("E261", "pass", name, PASSES)
        passes.append(PASSES[name]())
    return passes
