"""Recordings of NEST: small networks, with what every cell and plastic weight was, as circuits of the library's parts.

The file: `about` (JSON: `model`, `parameters`, perhaps `synapse` and `synapse_parameters`, `dt_ms`, `duration_ms`);
connections `source`, `target`, `weight` (or `start_weight`: from the inputs, plastic) and `delay` (ms), `in_source` ...
those of the inputs; `in_spikes` (time, input) and `reward_spikes`, when they leave; `start_V_m`; recorded quantities at
`times` (ms), rows x cells; `spikes` (time, cell); `weight_every_ms`.

NEST's delay lies on the dendrite: a plastic synapse stands on a spine of its own, which sees a presynaptic spike when
it leaves and a postsynaptic one `delay` later, and passes on what arrives `delay` later. NEST tells a weight as the
last presynaptic spike left it that was handed on; spikes are after every slice, which lasts the least delay, devices'
1 ms included. Errors V103 to V117.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cortexc.compiler.ir import CortexError, parse_graph, unknown
from cortexc.compiler.verify.recorded.format import (
    UNTOLD,
    Arrays,
    Recording,
    Sampled,
    numbers,
    one_step_protocol,
    text_of,
)
from cortexc.compiler.verify.recorded.nest_models import CELLS, LIMIT, RULES, CellModel, RuleModel, number
from cortexc.compiler.verify.recorded.nest_text import (
    INPUTS,
    LATE_REWARDS,
    NETWORK,
    REWARD,
    SEEN,
    SEES,
    SPINES,
    TO_PORT,
)
from cortexc.compiler.verify.runs import Setup

MOST = 2**27
"""Steps times sources, or cells, of one recording: numbers of 1 GiB."""
DEVICES = 1.0
"""The delay (ms) of NEST's generators and recorders."""

@dataclass
class NestFile:
    """`recording()` is the circuit of the library's parts, with what was recorded. Raises V103 to V111, V113, V116 to
    V118."""

    name: str
    arrays: Arrays
    models: ClassVar[Mapping[str, CellModel]] = CELLS
    gates: ClassVar[tuple[str, ...]] = ()
    fields: ClassVar[tuple[str, ...]] = ()
    """Arrays beside those of every recording that are given, not compared."""

    def __post_init__(self) -> None:
        self.about = _object(text_of(self.arrays, "about"), "about")
        model = str(self.about.get("model"))
        if model not in self.models:
            raise unknown("V103", f"cell model of '{self.name}'", model, self.models)
        self.cell = self.models[model]
        known = {name: default for name, (_, default) in self.cell.parameters.items()}
        known |= {name: self.cell.start[state] for name, state in self.cell.first.items()}
        known |= {**self.cell.solver, **self.cell.shared}
        self.given = parameters_of(self.about, "parameters", known, self.cell.only)
        self.dt = self._time("dt_ms", 0.1)
        if self.dt > self.cell.coarsest:
            raise CortexError("V106", f"'dt_ms' of '{self.name}' is {self.dt:g} ms; above {self.cell.coarsest:g} ms "
                                      f"NEST's integrator takes several steps within one of '{model}', which is not "
                                      "modelled.",
                              "Record with finer steps.")
        voltages = numbers(self.arrays, "V_m", (None, None), "rows x cells, mV")
        self.cells = voltages.shape[1]
        self.rows = self.steps_of("times", numbers(self.arrays, "times", (len(voltages),), "of the rows, ms")) - 1
        if not len(self.rows):
            raise CortexError("V113", f"'{self.name}' has no rows.", "Record at least one.")
        self.steps = max(int(self.rows[-1]) + 1, round(self._time("duration_ms", self.dt) / self.dt))
        self._afford("duration_ms", self.steps, self.cells)
        self.plastic = "synapse" in self.about
        self.bound: Arrays = {}
        self.inputs: Arrays = {}
        self.delays = np.zeros(0, np.int64)

    def _time(self, key: str, default: float) -> float:
        value = self.about.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e9:
            raise CortexError("V106", f"'{key}' of '{self.name}' is {value!r}; it must be a time in ms.")
        return float(value)

    def steps_of(self, what: str, times: np.ndarray) -> np.ndarray:
        """Whole steps from times in ms. Raises V116."""
        steps = np.round(np.clip(times, -1e12, 1e12) / self.dt)
        off = np.abs(steps * self.dt - times) > 1e-6 * self.dt * np.maximum(1.0, np.abs(steps))
        if off.any():
            raise CortexError("V116", f"'{what}' of '{self.name}' has the time {times[off][0]} ms, which is no "
                                      f"multiple of dt = {self.dt} ms.", "Record on NEST's grid.")
        return np.asarray(steps, np.int64)

    # ---- the circuit

    def recording(self) -> Recording:
        given = {ours: self.given[theirs] for theirs, (ours, _) in self.cell.parameters.items()}
        text = NETWORK.format(dt=self.dt, part=self.cell.part, lines=self.cell.lines, cells=self.cells,
                              given=_lines(given), gates="".join(f"  gate {gate}\n" for gate in self.gates))
        text += "".join(f"output {theirs.replace('.', '_')} = N.{ours}\n" for theirs, ours in self.cell.states.items())
        self._first_states()
        if self.cell.fed:
            self.inputs["N"] = self._trains("spikes", self.cells)
        text += self._circuit()
        graph = parse_graph(text).with_(arrays=self.bound)
        samples = np.concatenate([self.inputs[p.name] for p in graph.populations if p.name in self.inputs], axis=1)
        setup = Setup(graph, one_step_protocol(self.steps, self._gates()), samples)
        sampled = self._sampled()
        known = {"about", "times", "start_V_m", "spikes", "in_spikes", "reward_spikes", "start_weight", *sampled,
                 *self.fields,
                 *(prefix + key for prefix in ("", "in_") for key in ("source", "target", "weight", "delay"))}
        return Recording(self.name, setup, {}, {}, "published-simulator", sampled=sampled,
                         not_compared=tuple(sorted(set(self.arrays) - known)), arrays=self.arrays)

    def _circuit(self) -> str:
        return self._plastic() if self.plastic else self._fixed()

    def _gates(self) -> Arrays:
        """`slice` is on in the first step of every slice, `handed` in its last one."""
        place = np.arange(self.steps) % self.slice
        return {"learn": np.ones(self.steps), "slice": 1.0 * (place == 0), "handed": 1.0 * (place == self.slice - 1)}

    @property
    def slice(self) -> int:
        """Steps after which NEST hands spikes on: the least delay."""
        return int(min([round(DEVICES / self.dt), *self.delays]))

    def _first_states(self) -> None:
        first = self.cell.start | {state: self.given[name] for name, state in self.cell.first.items()}
        self.bound |= {f"N.{state}": np.full(self.cells, value) for state, value in first.items()}
        if "start_V_m" in self.arrays:
            self.bound["N.v"] = numbers(self.arrays, "start_V_m", (self.cells,), "mV")

    def _connections(self, prefix: str, weight: str, targets: int | None = None) -> tuple[np.ndarray, ...]:
        """source, target, weight, delay in steps; `targets`: how many there are, all cells unless said."""
        count = len(numbers(self.arrays, f"{prefix}source", (None,)))
        source, target, weights, delay = (numbers(self.arrays, key, (count,)) for key in (
            f"{prefix}source", f"{prefix}target", weight, f"{prefix}delay"))
        self._whole(f"{prefix}source", source)
        self._whole(f"{prefix}target", target, self.cells if targets is None else targets)
        steps = self.steps_of(f"{prefix}delay", delay)
        self.delays = np.concatenate([self.delays, steps])
        if count and steps.min() < 1:
            raise CortexError("V116", f"'{prefix}delay' of '{self.name}' has a delay of {delay.min()} ms; the least is "
                                      f"one step, {self.dt} ms.")
        return source.astype(np.int64), target.astype(np.int64), weights, steps

    def _whole(self, what: str, cells: np.ndarray, count: int | None = None) -> None:
        """Raises V117."""
        bad = (cells < 0) | (cells != np.floor(cells)) | (cells >= (2**31 if count is None else count))
        if bad.any():
            there = "" if count is None else f"; there are {count} cells"
            raise CortexError("V117", f"'{what}' of '{self.name}' names cell {cells[bad][0]}{there}.",
                              "Cells are whole numbers, counted from 0.")

    def _afford(self, what: str, steps: int, cells: int) -> None:
        """Raises V118."""
        if steps * cells > MOST:
            raise CortexError("V118", f"'{what}' of '{self.name}' makes {steps} steps of {cells} cells; the limit is "
                                      f"{MOST} numbers in all.", "Record a smaller network, or for a shorter time.")

    def _trains(self, key: str, count: int) -> np.ndarray:
        """(steps, sources): how many spikes leave at the end of each step."""
        spikes = numbers(self.arrays, key, (None, 2), "time in ms, source") if key in self.arrays else np.zeros((0, 2))
        self._whole(key, spikes[:, 1])
        at, source = self.steps_of(key, spikes[:, 0]) - 1, spikes[:, 1].astype(np.int64)
        sources = max(count, int(source.max(initial=-1)) + 1)
        self._afford(key, self.steps, sources)
        found = np.zeros((self.steps, sources))
        inside = (at >= 0) & (at < self.steps)
        np.add.at(found, (at[inside], source[inside]), 1.0)
        return found

    def _fixed(self) -> str:
        """Weights that stay: between cells, and from the inputs."""
        inside = self._connections("", "weight")
        self._whole("source", inside[0].astype(np.float64), self.cells)
        return self._from_inputs() + self._into_ports("REC", "N", *inside)

    def _from_inputs(self) -> str:
        outside = self._connections("in_", "in_weight")
        self.inputs["S"] = self._trains("in_spikes", 1 + int(outside[0].max(initial=-1)))
        text = INPUTS.format(inputs=self.inputs["S"].shape[1])
        text += "".join(TO_PORT.format(port=port) for port in self.cell.ports)
        return text + self._into_ports("IN", "S", *outside)

    def _into_ports(self, owner: str, pre: str, source: np.ndarray, target: np.ndarray, weight: np.ndarray,
                    delay: np.ndarray) -> str:
        return "".join(self._list(f"{owner}_{port}", f"to_{port} {pre} -> N", source[chosen], target[chosen],
                                  sign * weight[chosen], delay[chosen])
                       for port, chosen, sign in self._ports(weight))

    def _ports(self, weights: np.ndarray) -> Iterable[tuple[str, np.ndarray, float]]:
        """(port, the connections into it, what their weights are multiplied with)."""
        if len(self.cell.ports) == 1:
            return [(self.cell.ports[0], np.ones(len(weights), bool), 1.0)]
        first, second = self.cell.ports
        return [(first, weights >= 0, 1.0), (second, weights < 0, -1.0 if self.cell.sizes else 1.0)]

    def _list(self, owner: str, ends: str, source: np.ndarray, target: np.ndarray, weight: np.ndarray,
              delay: np.ndarray) -> str:
        self.bound |= {f"{owner}.pre": source, f"{owner}.post": target, f"{owner}.w": weight, f"{owner}.delay": delay}
        return f"projection {owner} {ends}\n"

    # ---- plastic synapses

    def _plastic(self) -> str:
        synapse = str(self.about["synapse"])
        if synapse not in RULES:
            raise unknown("V103", f"synapse model of '{self.name}'", synapse, RULES)
        model: RuleModel = RULES[synapse]
        own = parameters_of(self.about, "synapse_parameters", model.defaults, model.only)
        given = {**{name: self.given[name] for name in self.cell.shared}, **own}
        source, target, weight, delay = self._connections("", "start_weight")
        if (weight < 0).any():
            raise CortexError("V106", f"'start_weight' of '{self.name}' has {weight.min()}; plastic weights below 0 "
                                      "are not modelled.")
        count, values, (low, high) = len(source), model.values(given), (number(given, bound) for bound in model.bounds)
        self.connected, self.first_weights, self.rewarded = source, weight, model.rewarded
        leaving = self._trains("in_spikes", 1 + int(source.max(initial=-1)))
        self.inputs["T"] = leaving[:, source]
        spines, ones = np.arange(count), np.ones(count)
        wait = self.slice if model.rewarded else 1
        tau_n = {"tau_n": given["tau_n"]} if model.rewarded else {}
        arrived = "prev(" * wait + "pre.spike" + ")" * wait
        lines = LATE_REWARDS.format(low=low, high=high, arrived=arrived) if model.rewarded else ""
        if missing := [name for name in model.reads if f"message {name}_told late" not in self.cell.lines]:
            raise CortexError("V106", f"'{synapse}' onto '{self.about['model']}' is not modelled: the cell has no "
                                      f"'{missing[0]}'.")
        seen = "".join(SEEN.format(name=name, first=first) for name, first in model.reads.items())
        text = SPINES.format(rule=model.part, seen=seen, lines=lines, wait=wait, low=low, high=high,
                             port=self.cell.plastic or self.cell.ports[0],
                             synapses=count, given=_lines(values), tau_n=_lines(tau_n))
        self._list("OUT", "", spines, target, ones, delay - wait + 1)
        self._list("BACK", "", target, spines, ones, delay)
        self.bound |= {f"W.{state}": number(given, value) * ones for state, value in model.first.items()}
        self.bound["W.w"] = weight
        for name in model.reads:
            text += SEES.format(name=name)
            earlier = self._earlier(given["delay_u_bars"]) if name.startswith("u_") else 0
            self._list(f"BACK_{name}", "", target, spines, ones, delay + earlier)
        text += self._rewards(count) if model.rewarded else ""
        return text + (self._from_inputs() if "in_source" in self.arrays else "")

    def _earlier(self, delay: float) -> int:
        """Steps by which NEST's low-passed voltages are older than the rule's, which are those of the step before."""
        (steps,) = self.steps_of("delay_u_bars", np.array([delay]))
        return max(int(steps) - 1, 0)

    def _rewards(self, count: int) -> str:
        self.inputs["R"] = self._trains("reward_spikes", 1)
        slices = np.add.reduceat(self.inputs["T"], np.arange(0, self.steps, self.slice), axis=0)
        if (slices > 2).any():
            place, synapse = np.argwhere(slices > 2)[0]
            length, start = (slices * self.slice * self.dt for slices in (1, place))
            raise CortexError("V106", f"input {self.connected[synapse]} of '{self.name}' spikes three times within "
                                      f"a slice of {length:g} ms, from {start:g} ms on; what a dopamine synapse of "
                                      "NEST sends then is not modelled.", "Record with another seed.")
        neurons = self.inputs["R"].shape[1]
        self.bound["V.w"] = np.ones((count, neurons))
        return REWARD.format(neurons=neurons, delay=round(DEVICES / self.dt))

    # ---- what was recorded

    def _sampled(self) -> dict[str, Sampled]:
        at = np.broadcast_to(self.rows[:, None], (len(self.rows), self.cells))
        nothing = np.zeros(self.cells)
        seen = int(self.rows[-1]) + 1
        every = np.broadcast_to(np.arange(seen)[:, None], (seen, self.cells))
        spikes = numbers(self.arrays, "spikes", (None, 2), "time in ms, cell")
        self._whole("spikes", spikes[:, 1], self.cells)
        trains = self._trains("spikes", self.cells)[:seen]
        found: dict[str, Sampled] = {}
        if not self.cell.fed:
            found["spikes"] = Sampled("N.spike", np.arange(seen), every, trains, 0.0, nothing)
        for theirs, ours in self.cell.compared(self.given).items():
            if theirs in self.arrays:
                values = numbers(self.arrays, theirs, (len(self.rows), self.cells), "rows x cells")
                found[theirs] = Sampled(f"N.{ours}", self.rows, at, values, LIMIT, nothing)
        return found | (self._weights() if self.plastic and "weight_every_ms" in self.arrays else {})

    def _weights(self) -> dict[str, Sampled]:
        values = numbers(self.arrays, "weight_every_ms", (None, len(self.connected)), "rows x connections")
        rows = self.steps_of("weight_every_ms", np.arange(1.0, len(values) + 1))
        if len(rows) and rows[-1] > self.steps:
            raise CortexError("V113", f"'weight_every_ms' of '{self.name}' has {len(rows)} rows of 1 ms, but the "
                                      f"recording lasts {self.steps * self.dt} ms.")
        values = values[:, self._columns(values[:1])]
        at = self._brought_in(rows) if self.rewarded else self._handed_on(rows)
        return {"weight_every_ms": Sampled("W.w", rows - 1, at, values, LIMIT,
                                           self.first_weights, True)}

    def _handed_on(self, rows: np.ndarray) -> np.ndarray:
        """The step of every connection's last presynaptic spike that was handed on before each row; or -1."""
        handed = (np.ceil(rows / self.slice).astype(np.int64) - 1) * self.slice
        last = np.where(self.inputs["T"] > 0, np.arange(self.steps)[:, None], -1)
        last = np.maximum.accumulate(last, axis=0)
        return np.where(handed[:, None] > 0, last[np.maximum(handed - 1, 0)], -1)

    def _brought_in(self, rows: np.ndarray) -> np.ndarray:
        """The last step of the last whole slice, at which rewards are brought in; UNTOLD where a spike of this slice
        has not been handed on, or has turned the time back."""
        ends = rows // self.slice * self.slice
        before = np.concatenate([np.zeros((1, len(self.connected))), np.cumsum(self.inputs["T"], axis=0)])
        moved = before[np.maximum(rows - 1, 0)] - before[np.maximum(ends - self.slice, 0)] > 0
        return np.where(moved, UNTOLD, ends[:, None] - 1)

    def _columns(self, first: np.ndarray) -> np.ndarray:
        """The column of every connection: NEST sorts its connections when it begins, after their weights were asked
        for. Told by the first row, where that has the weights of the beginning in another order, each once."""
        start, there = self.first_weights, first.reshape(-1)
        ours, theirs = np.argsort(start), np.argsort(there)
        found = np.arange(len(start))
        if np.array_equal(start[ours], there[theirs]) and (np.diff(start[ours]) > 0).all():
            found[ours] = theirs
        return found


def _lines(given: Mapping[str, float]) -> str:
    return "".join(f"  {name} = {value!r}\n" for name, value in given.items())


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CortexError("V104", f"'{what}' is no JSON text: {error}.") from None
    if not isinstance(found, dict):
        raise CortexError("V104", f"'{what}' must hold an object, not {type(found).__name__}.")
    return found


def parameters_of(about: Mapping[str, Any], key: str, defaults: Mapping[str, float],
                only: Mapping[str, float]) -> dict[str, float]:
    """All of them, as numbers. Raises V104, V105, V106."""
    given = about.get(key, {})
    if not isinstance(given, dict):
        raise CortexError("V104", f"'{key}' must hold an object, not {type(given).__name__}.")
    for name, value in given.items():
        if name not in {*defaults, *only}:
            raise unknown("V105", f"option of '{key}'", str(name), {*defaults, *only})
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise CortexError("V106", f"option {name} = {value!r} must be a finite number.")
        if value != only.get(name, value):
            raise CortexError("V106", f"option {name} = {value!r} is not modelled; only {only[name]:g} is.")
    return {**defaults, **only, **{name: float(value) for name, value in given.items()}}
