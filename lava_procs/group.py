"""The bases of every generated process model: one group of operations, running under Lava."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyAsyncProcessModel, PyLoihiProcessModel

from cortexc.lava_procs.heartbeat import die_with_parent


class GroupSteps:
    """Sends and receives slots of its `GroupWork`, and computes in between.

    A generated model's `step` reads like the circuit: `begin`, then compute, send and receive in the circuit's common
    order, then `end`. `run_block` is for a group that is the whole network: many network steps per Lava step.
    """

    def __init__(self, proc_params: Any):
        super().__init__(proc_params)  # type: ignore[call-arg]
        die_with_parent()
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
        self.work = proc_params["work"]
        self.ends: dict[tuple[str, str], tuple[Any, Any]] = {}
        np.seterr(all="ignore")

    def begin(self) -> None:
        self.work.begin()

    def compute(self, first: int, last: int) -> None:
        self.work.compute(first, last)

    def send(self, name: str) -> None:
        """Sends the slot `name` through the port `name_out`; a tick is only a beat."""
        port, values = self.ends.get(("out", name)) or self._end("out", name)
        port.send(values)

    def receive(self, name: str) -> None:
        """Receives into the slot `name` from the channel behind the port `name_in`."""
        channel, values = self.ends.get(("in", name)) or self._end("in", name)
        values[:] = channel.recv()

    def receive_sum(self, name: str) -> None:
        """Receives what a stock Dense sends, which knows no padding."""
        values = self.work.view(name)
        values[:self.work.size(name)] = getattr(self, f"{name}_in").recv()

    def compute_late(self, first: int, last: int) -> None:
        """Runs rows of the last step, for which a stock Dense delivers now; nothing comes before the first step."""
        if self.work.at[1] > 0:
            self.work.compute(first, last)

    def _end(self, way: str, name: str) -> tuple[Any, Any]:
        """Where one message goes or comes from, and its memory, kept for the next steps. A port that receives adds to
        0.0, which makes 0.0 of -0.0; its one channel gives the bits that were sent."""
        values = self.work.view(name) if name in self.work.local else np.zeros(1)
        port = getattr(self, f"{name}_{way}")
        self.ends[way, name] = port.csp_ports[0] if way == "in" else port, values
        return self.ends[way, name]

    def end(self) -> None:
        self.work.end()

    def run_block(self) -> None:
        self.work.run_block()


class LoihiGroupModel(GroupSteps, PyLoihiProcessModel):
    """One `step` per time step of Loihi's protocol, as a chip would synchronise; works beside stock processes."""

    def run_spk(self) -> None:
        self.step()


class AsyncGroupModel(GroupSteps, PyAsyncProcessModel):
    """Only messages synchronise: the same steps in the same order, with less waiting."""

    def run_async(self) -> None:
        for _ in range(self.num_steps):
            self.step()
