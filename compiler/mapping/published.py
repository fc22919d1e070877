"""The nets of published on-chip learning results, estimated, beside what was measured.

A layered net is counted once per sample and layer: every cell of a layer sends one spike (the most that one pass of a
gated net can send) or a tenth of them do; with learning there is a second pass down the transposed weights, and every
forward synapse is updated once. Energy and time are both the high end of `estimate`: every neuron is active, every
learning synapse is updated, the mesh follows the busiest core. That is the least work the published task can be done
with, on one chip; what the measurement has beyond it are the steps of the gating, and what the boundary adds (static
power, embedded processors).
No number of steps was published for these nets, so none is assumed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cortexc import hardware_maps
from cortexc.compiler.ir import Graph, parse_graph
from cortexc.compiler.mapping.fit import Fit, fit
from cortexc.compiler.mapping.items import Rates
from cortexc.compiler.mapping.methods import SEQUENTIAL
from cortexc.hardware_maps import HardwareMap, load_map

TABLE = Path(hardware_maps.__file__).with_name("published_learning.toml")
RATES = (0.1, 1.0)
"""Spikes per cell and pass: a tenth of the cells, and all of them."""
ALL_ACTIVE = 1
"""The high end of an estimate: every synapse is updated once."""
CELLS = """
graph published
  dt 1
  gate learn
cell source
  input value
  state spike = 0
  send spike = where(value > 0, 1, 0)
  message spike
cell neuron
  port basal @ soma
  state u = 0
  state spike = 0
  receive u = prev(u) * (1 - prev(spike)) + basal
  receive spike = where(u > 1, 1, 0)
  message spike
rule update
  parameter eta 1 = 1
  increment eta * post.spike * prev(pre.spike)
rule update_input
  parameter eta 1 = 1
  increment eta * post.spike * pre.spike
synapse plastic
  message spike
  port basal
  rule update
synapse plastic_input
  message spike
  port basal
  rule update_input
synapse fixed
  message spike
  port basal
"""


def layered(layers: list[int], learning: bool) -> Graph:
    """Forward layers, and with learning the way back."""
    names = ["input", *(f"layer{i}" for i in range(1, len(layers)))]
    lines = [f"population {name} {'neuron' if i else 'source'} {size}"
             for i, (name, size) in enumerate(zip(names, layers, strict=True))]
    kind, gate = ("plastic", " gate=learn") if learning else ("fixed", "")
    for i, (pre, post) in enumerate(zip(names, names[1:], strict=False)):
        own = f"{kind}_input" if learning and not i else kind
        lines.append(f"projection forward{i} {own} {pre} -> {post}{gate}")
        if learning and i:
            lines.append(f"projection back{i} fixed {post} -> {pre}")
    return parse_graph(CELLS + "\n".join(lines) + "\n")


def comparison() -> list[dict[str, Any]]:
    """One row per published result and cost profile of its chip; without estimate where none can be made."""
    rows: list[dict[str, Any]] = []
    for result in hardware_maps.read_table(TABLE)["results"]:
        measured = {"work": result["work"], "chip": result["chip"], "network": result["network"],
                    "accuracy_percent": result.get("accuracy_percent"), "measured_J": result["energy_J"],
                    "measured_s": result.get("latency_s"), "source": result["source"]}
        known = result["chip"] in hardware_maps.shipped_maps()
        chip = load_map(result["chip"]) if known and "layers" in result else None
        if chip is None or not chip.profiles:
            why = (f"{result['chip']} has no hardware map" if not known
                   else "the shapes of its layers were not published in the table" if chip is None
                   else f"no per-operation figures were published for {result['chip']}")
            rows.append({**measured, "profile": None, "why_not": why})
            continue
        low, high = (fit(layered(result["layers"], result["learning"]), chip, Rates(rate), methods=(SEQUENTIAL,))
                     for rate in RATES)
        rows += [{**measured, **_row(result, chip, low, high, i)} for i in range(len(chip.profiles))]
    return rows


def _row(result: dict[str, Any], chip: HardwareMap, low: Fit, high: Fit, index: int) -> dict[str, Any]:
    least, most = (each.as_dict()["estimates"][index] for each in (low, high))
    energy, seconds = ([each[f"{what}_per_sample_{unit}"][ALL_ACTIVE] for each in (least, most)]
                       for what, unit in (("energy", "J"), ("time", "s")))
    static = static_energy(chip, high.chips, result)
    return {"profile": least["profile"], "label": least["label"], "cores": high.mapping.cores,
            "estimate_J": energy, "estimate_s": seconds, "at_least": most["at_least"],
            "at_most_time": most["at_most_time"], "not_priced": most["not_priced"],
            "as_if_it_fitted": most["as_if_it_fitted"],
            "measured_over_estimate_J": [result["energy_J"] / e for e in reversed(energy)],
            "measured_over_estimate_s": [result["latency_s"] / t for t in reversed(seconds)]
            if "latency_s" in result else None,
            "static_J": static, "static_share_of_measured": static / result["energy_J"] if static else None,
            "plasticity_share": most["always_on_plasticity"]["share"], "learning_priced":
            most["always_on_plasticity"]["priced"], "boundary": least["boundary"],
            "explained_by": explanation(result, most, static)}


def static_energy(chip: HardwareMap, chips: int, result: dict[str, Any]) -> float | None:
    """J: static power of the chips in use over the published latency; another source and voltage than the profile."""
    power = chip.scalars.get("cost_profiles.davies2018.static_power")
    if power is None or not isinstance(power.value, float) or "latency_s" not in result:
        return None
    return power.value * chips * float(result["latency_s"])


def explanation(result: dict[str, Any], most: dict[str, Any], static: float | None) -> str:
    """What the estimate leaves out, in the order of what can be said about its size."""
    parts = ["the estimate is of one pass per layer and sample; the published net takes several steps per pass, whose "
             "number the table does not give"]
    if static and static > result["energy_J"]:
        parts.append(f"static power of one chip over the published latency would be {static / result['energy_J']:.3g} "
                     "times the published energy; we take it that this is dynamic energy only, which the table does "
                     "not say")
    elif static:
        parts.append(f"static power of one chip over the published latency is {100 * static / result['energy_J']:.3g} "
                     "% of the published energy (another source and voltage, so it is not added)")
    if result["learning"] and not most["always_on_plasticity"]["priced"]:
        parts.append("this profile has no price for learning")
    return "; ".join([*parts, "embedded processors, input and output are outside the estimate"])
