"""What the passes aim at for an experiment, and what is observed of it; no data are read.

X156 no such pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.tables import Run
from cortexc.compiler.ir import unknown
from cortexc.compiler.passes import PIPELINE, Request, Target
from cortexc.compiler.passes.group_weights import GroupWeights
from cortexc.compiler.passes.legalise import Legalise
from cortexc.compiler.passes.name_products import NameProducts
from cortexc.compiler.passes.partition import Partition

if TYPE_CHECKING:
    from cortexc.compiler.experiments.precision import Calibration

Cores = tuple[tuple[str, str], ...]
"""(population, its core or cores)."""


def recorded(experiment: Experiment) -> Request:
    """What [record] names."""
    return Request(frozenset(quantity for table in experiment.record.values() for quantity in table.recorded))


def granularity_of(run: Run) -> str:
    """Other backends than Lava run everything in one process."""
    return run.granularity if run.backend == "lava" else "network"


def left_out(where: str, names: Iterable[str]) -> frozenset[str]:
    """Passes that do not run. Raises X156."""
    found = frozenset(names)
    for name in found - set(PIPELINE):
        raise unknown("X156", f"pass in {where}", name, PIPELINE)
    return found - {Partition.name}


def target_of(experiment: Experiment, cores: Cores = (), calibration: Calibration | None = None) -> Target:
    """What the passes aim at. Raises X156."""
    run, precision = experiment.run, experiment.precision
    disabled = left_out("passes.disable", experiment.passes.disable)
    target = Target(granularity_of(run), cores, disabled, _legalise(experiment), _grouping(experiment))
    if calibration is None:
        return target
    return replace(target, products=NameProducts(precision.coefficients), calibrate=calibration, count=precision.count)


def _legalise(experiment: Experiment) -> Legalise | None:
    credit = experiment.precision.credit if experiment.protocol.update_every <= 1 else "never"
    return Legalise(experiment.precision.map, credit) if experiment.precision.map else None


def _grouping(experiment: Experiment) -> GroupWeights | None:
    """The pass that gives a projection several units, where it is asked for."""
    precision = experiment.precision
    if not precision.weights or precision.groups == 1:
        return None
    given = frozenset(name.removesuffix(".w") for name, text in precision.formats.items() if "." in text)
    return GroupWeights(precision.weights, 0 if precision.groups == "auto" else precision.groups, given)
