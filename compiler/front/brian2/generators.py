"""A SpikeGeneratorGroup as a cell that is told when to spike."""

from __future__ import annotations

import numpy as np

from cortexc.compiler.front.brian2.cells import Cell
from cortexc.compiler.ir.cells import State
from cortexc.compiler.ir.expressions import Name
from cortexc.compiler.ir.firing import SPIKE


class Generator(Cell):
    """A SpikeGeneratorGroup: spikes are an input."""

    def begin(self) -> None:
        group = self.group
        spikes = np.zeros((self.steps, len(group)))
        first = np.floor(group._spike_time / self.dt + 1e-3).astype(np.int64)
        period = int(np.round(float(group.variables["period"].get_value()[0]) / self.dt))
        for start in range(0, self.steps, period) if period else [0]:
            inside = first + start < self.steps
            spikes[first[inside] + start, group._neuron_index[inside]] = 1.0
        self.inputs[self.own("value")] = spikes
        self.states.append(State(SPIKE))
        self.emit(SPIKE, Name(self.own("value")), "send")
        self.publish(Name(SPIKE), SPIKE)

    def build(self) -> None:
        """Nothing happens in it."""
