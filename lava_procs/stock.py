"""Lava's own LIF, Dense and LearningDense beside generated processes: their models, unchanged, each with a probe.

The stock model computes, sends and receives; afterwards the probe copies its Vars into the shared memory from which
recordings and results are read, so that no Monitor takes part in the steps.
"""

from __future__ import annotations

from typing import Any

from lava.proc.dense.models import PyDenseModelBitAcc, PyLearningDenseModelBitApproximate
from lava.proc.lif.models import PyLifModelBitAcc

from cortexc.lava_procs.heartbeat import die_with_parent


class Probe:
    """Goes before a stock fixed-point model in its bases. `work` is a parameter of the process."""

    work: Any

    def __init__(self, proc_params: Any):
        super().__init__(proc_params)  # type: ignore[call-arg]
        die_with_parent()
        self.work = proc_params["work"]

    def run_spk(self) -> None:
        self.work.begin()
        super().run_spk()  # type: ignore[misc]
        self.after_spikes()

    def after_spikes(self) -> None:
        self.work.end()


class ProbedLif(Probe, PyLifModelBitAcc):
    """Stock LIF, bit-accurate; copies `u`, `v` and the spikes."""

    def after_spikes(self) -> None:
        for name, values in (("u", self.u), ("v", self.v), ("spike", self.s_out_buff)):
            self.work.copy(name, values)
        self.work.end()


class ProbedDense(Probe, PyDenseModelBitAcc):
    """Stock Dense, bit-accurate; its weights stay."""


class ProbedLearningDense(Probe, PyLearningDenseModelBitApproximate):
    """Stock LearningDense; the weights are copied when the learning phase is over, which ends the step."""

    def after_spikes(self) -> None:
        pass

    def run_lrn(self) -> None:
        super().run_lrn()
        self.work.copy_weights("w", self.weights)
        self.work.end()
