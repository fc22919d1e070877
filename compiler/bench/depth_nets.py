"""The nets and models that are compared against depth, with their published learning rates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cortexc.compiler.ir import unknown

NETS = ((2, 1), (4, 2, 1), (8, 4, 2, 1), (16, 8, 4, 2, 1), (32, 16, 8, 4, 2, 1))
MODELS = ("ann", "error-neuron", "dpc", "dendritic")
DEEP = (1, .2, .1, .05, .01)
FORWARD: Mapping[str, Sequence[Sequence[float]]] = {
    "error-neuron": ((1,), (2, .2), (1, .2, .05), (2, .5, .125, .03125), DEEP),
    "ann": ((1,), (2, .2), (1, .2, .05), (2, .5, .1, .01), DEEP),
    "dendritic": ((1,), (.1, .02), (.1, .02, .002), (.1, .01, .002, .001), DEEP)}
LATERAL = ((0,), (.04,), (.04, .004), (.02, .004, .002), (.4, .2, .1, .02))
"""Published learning rates, per net and area (specs/error_neuron.md 8.3)."""


def label_of(net: tuple[int, ...]) -> str:
    return "-".join(map(str, net))


def published(model: str, net: tuple[int, ...]) -> dict[str, Any]:
    """The options of a model for a net in the published comparison."""
    i = NETS.index(net)
    rates = FORWARD["dendritic" if model == "dpc" else model][i]
    found: dict[str, Any] = {"model.layers": list(net), "model.eta_fw": list(rates), "model.target_delay": len(net) - 1}
    lateral = {"dendritic": "model.eta_IP", "dpc": "model.eta_PI"}.get(model)
    return found | ({lateral: list(LATERAL[i])} if lateral else {})


def chosen_nets(options: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Raises X182."""
    known = {label_of(net): net for net in NETS}
    for name in options.get("nets", known):
        if name not in known:
            raise unknown("X182", "net", str(name), known)
    return [known[name] for name in options.get("nets", known)]


def chosen_models(options: Mapping[str, Any], known: Collection[str] = MODELS) -> Collection[str]:
    """Raises X182."""
    for name in options.get("models", known):
        if name not in known:
            raise unknown("X182", "model", str(name), known)
    return options.get("models", known)
