"""Recordings of NEST's e-prop: inputs, recurrent cells and readouts whose synapses learn at the end of every interval.

Beside what every recording of NEST has: `in_source`, `in_weight` ... of the inputs, `out_...` onto readouts, `back_...`
from readouts, delays of one step; `target_signal` (rows, readouts) at every step; of the cells `surrogate_gradient` and
`learning_signal`, of the readouts `V_m.out` and `error_signal`; `weight_every_ms` with `in_` and `out_`. `about` also
has `readout`, its parameters, and `update_interval` (ms).

NEST counts an interval of the cells from its third step on, which leaves out what spikes in the step before; their
state and that of their synapses' traces begins anew there, that of readouts a step later. What a cell's eligibility is
in a step meets the error that this step leads to, which comes back three steps later; then weights are changed, and the
first presynaptic spike after that takes them along. V106 for what is not modelled.
"""

from __future__ import annotations

import numpy as np

from cortexc.compiler.ir import CortexError
from cortexc.compiler.verify.recorded.format import Arrays, Recording, Sampled, numbers
from cortexc.compiler.verify.recorded.nest import NestFile, parameters_of
from cortexc.compiler.verify.recorded.nest_models import LIMIT, CellModel
from cortexc.compiler.verify.recorded.nest_text import EPROP_CELL, EPROP_READOUT, EPROP_SYNAPSES

FIRST, BACK = 2, 3
"""The first step of an interval, counted from 0, and the steps in which an error comes back."""
READOUT = {"tau_m": 10.0}
LEARNING = {"eta": 1e-4, "Wmin": -100.0, "Wmax": 100.0, "tau_m_readout": 10.0}
CELL = CellModel("eprop_lif", ("synapses",), {
    "C_m": ("capacitance", 250.0), "E_L": ("v_rest", -70.0), "I_e": ("bias", 0.0), "V_th": ("v_threshold", -55.0),
    "t_ref": ("t_refractory", 2.0), "tau_m": ("tau_m", 10.0), "surrogate_gradient_height": ("height", 0.3),
    "surrogate_gradient_width": ("width", 1.0)}, {"V_m": "v", "surrogate_gradient": "psi", "learning_signal": "signal"},
    {"v": -70.0}, {"c_reg": 0.0, "regular_spike_arrival": 0.0}, lines=EPROP_CELL, shared={})
PROJECTIONS = {"in_": ("IN", "S", "N"), "": ("REC", "N", "N"), "out_": ("OUT", "N", "Y")}


def nest_recording(name: str, arrays: Arrays) -> Recording:
    """Of any of NEST's circuits. Raises V103 to V111, V113, V116 to V118."""
    return (EpropFile if "out_source" in arrays else NestFile)(name, arrays).recording()


class EpropFile(NestFile):
    models = {"eprop_iaf_bsshslm_2020": CELL}
    gates = ("begin", "begin_out", "update")
    fields = ("target_signal", *(f"{side}_{key}" for side in ("out", "back")
                                 for key in ("source", "target", "weight", "delay")))

    def _circuit(self) -> str:
        readout = parameters_of(self.about, "readout", READOUT, {"E_L": 0.0, "regular_spike_arrival": 0.0})
        own = parameters_of(self.about, "synapse_parameters", LEARNING, {})
        self.interval = int(self.steps_of("update_interval", np.array([self._time("update_interval", 1000.0)]))[0])
        self.targets = numbers(self.arrays, "target_signal", (len(self.rows), None), "rows x readouts")
        if not np.array_equal(self.rows, np.arange(self.steps)):
            raise CortexError("V106", f"'times' of '{self.name}' leaves out steps; e-prop is recorded at every one.")
        self.inputs["S"] = self._early(self._trains("in_spikes", 1))
        self.inputs["Y"] = self.targets
        tau = {"tau_m": self.given["tau_m"], "tau_out": own["tau_m_readout"]}
        keep = {key: float(np.exp(-self.dt / value)) for key, value in tau.items()}
        rate = own["eta"] * (1 - keep["tau_out"])
        text = EPROP_READOUT.format(readouts=self.targets.shape[1], tau_m=readout["tau_m"])
        text += EPROP_SYNAPSES.format(inputs=self.inputs["S"].shape[1], rate=rate * (1 - keep["tau_m"]), rate_out=rate,
                                      low=own["Wmin"], high=own["Wmax"], **tau)
        for prefix, owner in (*((prefix, ends[0]) for prefix, ends in PROJECTIONS.items()), ("back_", "BACK")):
            self._wire(prefix, owner)
        return text

    def _first_states(self) -> None:
        """The bias is on from the second step."""
        super()._first_states()
        decay = np.expm1(self.dt / self.given["tau_m"])
        self.bound["N.v"] -= decay * self.given["tau_m"] * self.given["I_e"] / self.given["C_m"]

    def _early(self, trains: np.ndarray) -> np.ndarray:
        """Raises V106 for spikes after which NEST changes weights before all errors are back."""
        steps = np.flatnonzero(trains.any(axis=1))
        late = steps[(steps >= self.interval) & ((steps - FIRST) % self.interval < BACK)]
        if len(late):
            raise CortexError("V106", f"an input of '{self.name}' spikes at {(late[0] + 1) * self.dt:g} ms, within the "
                                      f"first {BACK} steps of an interval; what NEST then changes is not modelled.",
                              "Begin a little later.")
        return trains

    def _wire(self, prefix: str, owner: str) -> None:
        source, target, weight, delay = self._connections(prefix, f"{prefix}weight", self._targets(prefix))
        if (delay != 1).any():
            raise CortexError("V106", f"'{prefix}delay' of '{self.name}' has {delay.max()} steps; e-prop is modelled "
                                      "with delays of one.")
        self.bound |= {f"{owner}.pre": source, f"{owner}.post": target, f"{owner}.w": weight}

    def _targets(self, prefix: str) -> int:
        return self.targets.shape[1] if prefix == "out_" else self.cells

    def _gates(self) -> Arrays:
        place = np.arange(self.steps) - FIRST
        last = (place > 0) & (place % self.interval == BACK - 1)
        return {"learn": np.ones(self.steps), "begin": 1.0 * (place % self.interval == 0),
                "begin_out": 1.0 * (place % self.interval == 1), "update": 1.0 * (last & (place >= self.interval))}

    def _sampled(self) -> dict[str, Sampled]:
        found = super()._sampled()
        at = np.broadcast_to(self.rows[:, None], self.targets.shape)
        for theirs, ours in (("V_m.out", "v"), ("error_signal", "error")):
            if theirs in self.arrays:
                values = numbers(self.arrays, theirs, self.targets.shape, "rows x readouts")
                found[theirs] = Sampled(f"Y.{ours}", self.rows, at, values, LIMIT, np.zeros(self.targets.shape[1]))
        for prefix in PROJECTIONS:
            if f"{prefix}weight_every_ms" in self.arrays:
                found[f"{prefix}weight_every_ms"] = self._learnt(prefix)
        return found

    def _learnt(self, prefix: str) -> Sampled:
        """Weights as the last presynaptic spike took them along."""
        owner, pre, post = PROJECTIONS[prefix]
        source, first = self.bound[f"{owner}.pre"], self.bound[f"{owner}.w"]
        values = numbers(self.arrays, f"{prefix}weight_every_ms", (None, len(source)), "rows x connections")
        rows = self.steps_of("weight_every_ms", np.arange(1.0, len(values) + 1))
        if len(rows) and rows[-1] > self.steps:
            raise CortexError("V113", f"'{prefix}weight_every_ms' of '{self.name}' has {len(rows)} rows of 1 ms, but "
                                      f"the recording lasts {self.steps * self.dt} ms.")
        trains = self.inputs["S"] if pre == "S" else self._trains("spikes", self.cells)
        begun, steps = FIRST + (post == "Y"), np.arange(self.steps)[:, None]
        taken = (trains[:, source] > 0) & ((steps - begun) % self.interval != self.interval - 1)
        last = np.maximum.accumulate(np.where(taken, steps, -1), axis=0)
        before = np.concatenate([np.full((1, len(source)), -1), last])[rows - 1]
        ended = (before - begun) // self.interval
        at = np.where(ended > 0, FIRST + BACK - 1 + ended * self.interval, -1)
        return Sampled(f"{owner}.w", rows - 1, at, values, LIMIT, first, True)
