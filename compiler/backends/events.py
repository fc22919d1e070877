"""Delivery by lists of synapses: what a step's messages add to the currents of this step and of later ones."""

from __future__ import annotations

import numpy as np

from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.ir.synapses import Synapses


def nothing_underway(synapses: Synapses, batch: int, cells: int) -> Floats:
    """Currents (batch, steps ahead, n_post) of this step and those that follow."""
    return np.zeros((batch, synapses.slots, cells))


def send(synapses: Synapses, w: Floats, message: Floats, underway: Floats) -> None:
    """Adds w (batch, synapses in canonical order) times message (batch, n_pre) into `underway`, one synapse after the
    other. A message of 0 sends nothing."""
    for weights, values, into in zip(w, message, underway, strict=True):
        found = np.flatnonzero(values[synapses.pre] != 0)
        np.add.at(into.reshape(-1), synapses.late[found] * into.shape[1] + synapses.post[found],
                  weights[found] * values[synapses.pre[found]])


def step_on(underway: Floats) -> Floats:
    """The same, one step later."""
    return np.concatenate([underway[:, 1:], np.zeros_like(underway[:, :1])], axis=1)


def underway_at_start(synapses: Synapses, w: Floats, message: Floats, cells: int) -> Floats:
    """What cells that sent `message` (batch, n_pre) in every step before the first one have under way."""
    found = nothing_underway(synapses, len(message), cells)
    for _ in range(synapses.slots - 1 if message.any() else 0):
        send(synapses, w, message, found)
        found = step_on(found)
    return found
