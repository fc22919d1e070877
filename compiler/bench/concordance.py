"""The claim of sign-concordant feedback, measured: is the circuit's update backprop's, is B like W, are signs equal.

Measured with weights as they are, on a probe of samples whose labels are known, with the circuit itself: once with
its own feedback, once with the transposed forward weights, nothing applied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.microcircuits.sign_concordant import build, presentation
from cortexc.compiler.microcircuits.sign_concordant_options import SignConcordant

Read = Callable[[str], np.ndarray]
"""Gives a weight by name, without an axis of copies."""


def measures(circuit: SignConcordant, read: Read, x: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """Per layer: `update_angle` (1 .. L) between the circuit's update and backprop's, degrees; `feedback_angle` and
    `concordant` (2 .. L) between B and W: degrees, and the share of equal signs where W is not 0 (`DFA` has neither).

    x: (samples, n_0), labels: one-hot (samples, n_L).
    """
    forward, back = effective(circuit, read)
    direct = circuit.feedback == "DFA"
    own = updates(circuit, forward, back, "DFA" if direct else "FA", x, labels)
    exact = updates(circuit, forward, forward, "BP", x, labels)
    pairs = [] if direct else [(forward[i], back[i]) for i in range(2, circuit.top + 1)]
    return {"update_angle": [angle(own[i], exact[i]) for i in range(1, circuit.top + 1)],
            "feedback_angle": [angle(b, w) for w, b in pairs],
            "concordant": [float(np.mean(np.sign(b)[w != 0] == np.sign(w)[w != 0])) for w, b in pairs]}


def effective(circuit: SignConcordant, read: Read) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Signed W_l and B_l, both in the forward direction's shape (`DFA`: as the projection has it)."""
    def signed(letter: str, i: int) -> np.ndarray:
        if circuit.locked:
            return read(f"{letter.lower()}E_{i}.w") - read(f"{letter.lower()}I_{i}.w")
        return read(f"{'W' if letter == 'w' else 'B'}_{i}.w")

    forward = {i: signed("w", i) for i in range(1, circuit.top + 1)}
    back = {i: signed("c", i) for i in range(2, circuit.top + 1)}
    turned = {i: b if circuit.shapes[i].convolution or circuit.feedback == "DFA" else b.T for i, b in back.items()}
    return forward, turned


def updates(circuit: SignConcordant, forward: dict[int, np.ndarray], back: dict[int, np.ndarray], feedback: str,
            x: np.ndarray, labels: np.ndarray) -> dict[int, np.ndarray]:
    """Summed increments of every layer, signed weights, over one presentation of the probe."""
    turn = {i: circuit.shapes[i].convolution is None and feedback != "DFA" for i in back}
    arrays = {f"W_{i}.w": w for i, w in forward.items()}
    arrays |= {f"B_{i}.w": np.ascontiguousarray(b.T if turn[i] else b) for i, b in back.items() if i > 1}
    probe = replace(circuit, feedback=feedback, optimiser="none", message="graded", update="presentation",
                    timing="phase_locked", eta=(1.0,), arrays=arrays)
    shown = presentation(probe, 5)
    gates = tuple((name, (0.0,) if name == "apply" else pattern) for name, pattern in shown.train.items())
    phase = Phase("probe", 1, shown.steps, gates=gates, rows=len(x))
    native = Native(lower(build(probe).with_(samples=len(x))), Protocol((phase,), ("probe",)),
                    np.concatenate([x, labels], axis=1), [0])
    native.run()
    return {i: native.value(f"W_{i}.accumulate")[0] for i in forward}


def angle(first: np.ndarray, second: np.ndarray) -> float:
    """Degrees between two arrays; nan where one is 0."""
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.degrees(np.arccos(np.clip((first * second).sum() / norms, -1, 1)))) if norms else float("nan")


def reader(session: Any) -> Read:
    """Weights of a running session's first seed."""
    return lambda name: np.array(session.runner.value(name)[0])
