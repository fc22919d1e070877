"""The error-neuron circuit in plain numpy, area by area: a yardstick for speed, written with care.

One seed, wiring `areas` or `layered`, copied feedback, prospective coding in its short form (a delay of one step per
connection, as after the pass eliminate-lookahead), buffers that are filled in place.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cortexc.compiler.microcircuits.error_neuron import ErrorNeuron


class NumpyErrorNeuron:
    """All state as one array per area; `step(r0, target)` learns with a target (n_L,)."""

    def __init__(self, circuit: ErrorNeuron, arrays: Mapping[str, np.ndarray]):
        c = self.circuit = circuit
        areas, tau = range(c.areas), 1 / (c.gl + c.gbas + c.gapi)
        self.forward = [[(k + 1, arrays[f"{c.forward_name(to, k)}.w"].copy(), c.dt * c.forward_rate(to, k))
                         for t, k in c.forward_pairs() if t == to] for to in areas]
        self.feedback = [[(k, arrays[f"{c.feedback_name(to, k)}.w"].copy())
                          for t, k in c.feedback_pairs() if t == to] for to in areas]
        self.copies = [(to, i, k, next(n for n, pair in enumerate(self.forward[k]) if pair[0] == to + 1),
                        arrays[f"{c.feedback_name(to, k)}.copy_error"])
                       for to in areas for i, (k, _) in enumerate(self.feedback[to]) if (k, to) in c.forward_pairs()]
        self.gating = [arrays[f"WIP_{i}.w"] for i in areas]
        self.apical = [arrays[f"BPI_{i}.w"] for i in areas]
        self.attenuation, self.into_soma = tau * c.gbas, tau * c.gapi
        self.into_error = [c.gden / (c.gl + c.gden)] * (c.areas - 1) + [c.gntgt / (c.gl + c.gntgt)]
        self.prospective = [arrays[f"R{i}.u"].copy() for i in areas]
        self.rates = [np.zeros(c.layers[0]), *(np.tanh(u) for u in self.prospective)]
        self.errors = [arrays[f"E{i}.u"].copy() for i in areas]
        self.basal = [np.zeros(n) for n in c.layers[1:]]

    def step(self, r0: np.ndarray, target: np.ndarray) -> None:
        before, basal_before = self.rates, self.basal
        rates = [r0, *(np.tanh(u) for u in self.prospective)]
        slopes = [1.0 - r * r for r in rates[1:]]
        mismatches = [u - self.attenuation * v for u, v in zip(self.prospective, basal_before, strict=True)]
        self.basal = [_sum(w @ rates[k] for k, w, _ in into) for into in self.forward]
        top = len(self.errors) - 1
        drives = [self.into_error[i] * (self.gating[i] @ slopes[i]) * _sum(w @ self.errors[k] for k, w in into)
                  for i, into in enumerate(self.feedback[:top])]
        drives.append(self.into_error[top] * (self.gating[top] @ (slopes[top] * (target - rates[-1]))))
        self.prospective = [self.attenuation * v + self.into_soma * (b @ e)
                            for v, b, e in zip(self.basal, self.apical, self.errors, strict=True)]
        for to, i, k, n, error in self.copies:
            np.add(self.forward[k][n][1].T, error, out=self.feedback[to][i][1])
        for into, mismatch in zip(self.forward, mismatches, strict=True):
            for k, w, rate in into:
                w += np.outer(rate * mismatch, before[k])
        self.errors, self.rates = drives, rates


def _sum(parts: object) -> np.ndarray:
    total = None
    for part in parts:  # type: ignore[attr-defined]
        total = part if total is None else total + part
    return total  # type: ignore[return-value]
