"""What a NIR node computes, as cells of the IR. The equations are those of NIR's own documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cortexc.compiler.front.nir.reading import Node
from cortexc.compiler.ir.errors import CortexError

MS = 1000.0
"""Milliseconds, the IR's unit of time, in a second, NIR's."""
UNITS = {"tau": ("ms", MS), "tau_mem": ("ms", MS), "tau_syn": ("ms", MS), "rate": ("1/ms", 1 / MS)}
"""Field -> unit, and how many of NIR's values it holds; others have none."""
RESETS = {"v_reset": "v_reset", "zero": "0", "subtract": "v - (v_threshold - v_reset)",
          "zero_next": "0", "subtract_next": "v_free - (v_threshold - v_reset)"}
"""What v becomes: in the step of its spike, or, `_next`, in the one after, whose equation goes on from the v before."""
CURRENTS = ("together", "first")


@dataclass(frozen=True)
class Neuron:
    """Parameters, and state -> its derivative; `{i}` is the current that v reads."""

    parameters: tuple[str, ...]
    flow: dict[str, str]


_LEAK = "(v_leak - v + r * {i}) / tau"
_CUBA = {"i": "(w_in * arriving - i) / tau_syn", "v": "(v_leak - v + r * {i}) / tau_mem"}
_FIRES = ("v_threshold", "v_reset")
NEURONS = {
    "I": Neuron(("r",), {"v": "r * {i}"}),
    "IF": Neuron(("r", *_FIRES), {"v": "r * {i}"}),
    "LI": Neuron(("tau", "r", "v_leak"), {"v": _LEAK}),
    "LIF": Neuron(("tau", "r", "v_leak", *_FIRES), {"v": _LEAK}),
    "CubaLI": Neuron(("tau_syn", "tau_mem", "r", "v_leak", "w_in"), _CUBA),
    "CubaLIF": Neuron(("tau_syn", "tau_mem", "r", "v_leak", "w_in", *_FIRES), _CUBA)}
PASSING = {
    "nir_input": ("input value", "send out = value"),
    "nir_threshold": ("port arriving", "parameter threshold 1", "receive out = where(arriving > threshold, 1, 0)"),
    "nir_bias": ("port arriving", "parameter bias 1", "receive out = arriving + bias"),
    "nir_relay": ("port arriving", "receive out = arriving")}
"""The cells without a state of their own."""


@dataclass(frozen=True)
class Choices:
    """What a file does not say."""

    reset: str
    current: str
    integrator: str


def fires(kind: str) -> bool:
    return kind in NEURONS and "v_threshold" in NEURONS[kind].parameters


def message(kind: str) -> str:
    return "spike" if fires(kind) else "v" if kind in NEURONS else "out"


def cell_name(kind: str, kept: bool = False) -> str:
    """`kept`: what it sends is kept, for delays behind it."""
    if kind in NEURONS:
        return f"nir_{kind.lower()}"
    name = {"Input": "nir_input", "Threshold": "nir_threshold", "Affine": "nir_bias", "Conv1d": "nir_bias",
            "Conv2d": "nir_bias"}.get(kind, "nir_relay")
    return f"{name}_kept" if kept else name


def cell_text(kind: str, kept: bool, choices: Choices) -> str:
    lines = list(_neuron(kind, choices)) if kind in NEURONS else [*PASSING[cell_name(kind)], "message out"]
    state = ["state out = 0"] if kept and kind not in NEURONS else []
    return "\n  ".join((f"cell {cell_name(kind, kept)}", *state, *lines)) + "\n"


def _neuron(kind: str, choices: Choices) -> Iterator[str]:
    neuron, based = NEURONS[kind], "i" in NEURONS[kind].flow
    first = based and choices.current == "first"
    yield "port arriving"
    for name in neuron.parameters:
        yield f"parameter {name} {unit(kind, name)[0]}"
    for state in neuron.flow:
        yield f"state {state} = 0"
    yield f"integrator {choices.integrator}"
    late = fires(kind) and choices.reset.endswith("_next")
    for state, flow in neuron.flow.items():
        equation = flow.format(i="drive" if first else "i" if based else "arriving")
        yield _resumed(equation) if late and state == "v" else f"receive d{state}/dt = {equation}"
        if first and state == "i":
            yield "receive drive = i"
    if late:
        yield "state spike = 0"
        yield f"receive v = where(prev(spike) > 0, {RESETS[choices.reset]}, v_free)"
        yield "receive spike = where(v > v_threshold, 1, 0)"
        yield "message spike late"
    elif fires(kind):
        yield "spike when v > v_threshold"
        yield f"reset v = {RESETS[choices.reset]}"
    else:
        yield "message v"


def _resumed(equation: str) -> str:
    """v before a reset that its own spike of the step before brings."""
    own = re.sub(r"\bv\b", "v_free", equation)
    return f"receive dv_free/dt = {own} from prev(v)"


def unit(kind: str, name: str) -> tuple[str, float]:
    return UNITS.get("rate" if kind in ("I", "IF") and name == "r" else name, ("1", 1.0))


def parameters(node: Node, size: int) -> dict[str, np.ndarray]:
    """Parameter -> (size,), in the units of the cell. Raises N106."""
    if node.kind in NEURONS:
        return {name: _value(node, name, size) * unit(node.kind, name)[1] for name in NEURONS[node.kind].parameters}
    if node.kind == "Threshold":
        return {"threshold": _value(node, "threshold", size)}
    if cell_name(node.kind) == "nir_bias":
        bias = np.ravel(node.fields["bias"]).astype(np.float64)
        return {"bias": np.repeat(bias, size // max(1, bias.size))}
    return {}


def _value(node: Node, name: str, size: int) -> np.ndarray:
    found = np.asarray(node.fields[name], np.float64)
    if name.startswith("tau") and not np.all(found > 0):
        raise CortexError("N106", f"{node.shown} has {name} = {found.min():g} s; a time constant must be above 0.")
    return np.array(np.broadcast_to(found.reshape(-1), size))
