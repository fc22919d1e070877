"""Every limit of every map is exceeded once, and the message names limit, amount, core and source."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace as changed

from cortexc.compiler.ir import CortexError, Graph, parse_graph, show_graph
from cortexc.compiler.mapping.accounting import account
from cortexc.compiler.mapping.fit import NO, OPEN, YES, Fit, fit, refuse
from cortexc.compiler.mapping.items import Cut, Rates, problem_of
from cortexc.compiler.mapping.limits import BREACHES, UNCHECKED_ALWAYS, unchecked
from cortexc.compiler.mapping.problem import Mapping
from cortexc.compiler.mapping.report import fit_text
from cortexc.compiler.report.fit_page import fit_page
from cortexc.hardware_maps import LIMITS, HardwareMap, load_map, shipped_maps

sys.path.insert(0, str(Path(__file__).parent))
from mapping_circuits import chain, circuit, with_limit

CHECKED = tuple(BREACHES)
NAMED = {
    "core.compartments": "M201", "core.synapse_bits": "M202", "core.memory_bits": "M203", "core.axons_in": "M204",
    "core.axons_out": "M205", "core.compartment_configurations": "M206", "core.threshold_configurations": "M207",
    "core.synapse_formats": "M208", "core.pre_trace_configurations": "M209", "core.state_bytes": "M210",
    "numeric.delay_steps": "M211", "numeric.message_bits": "M212", "learning.synaptic_states": "M213",
    "chip.usable_cores": "M214", "chip.neurons": "M215", "chip.synapses": "M216", "system.chips": "M217",
    "system.neurons": "M218", "system.synapses": "M219"}
"""What users have read so far: codes are stable."""
METHOD = ("sequential",)


Placed = tuple[HardwareMap, Fit]


def placed(graph: Graph, hardware: HardwareMap, cuts: list[Cut] | None = None, cores: list[int] | None = None) -> Placed:
    """The circuit with these blocks on these cores; by default every population whole, on core 0."""
    accounts = account(graph, hardware)
    cuts = cuts or [(p.name, 0, p.size) for p in accounts.placed]
    mapping = Mapping(np.array(cores or [0] * len(cuts)))
    return hardware, Fit(graph, accounts, problem_of(graph, accounts, cuts), mapping, "by hand", Rates(), 1)


def one_by_one(cells: int) -> tuple[list[Cut], list[int]]:
    """A and B of a chain, every cell of A on a core of its own."""
    return [*[("A", i, i + 1) for i in range(cells)], ("B", 0, 1)], [*range(cells), 0]


def many(count: int) -> Graph:
    """So many populations that differ, and so many synapse classes and rules."""
    kinds = [f"rule r{i}\n  increment prev({'prev(' * i}pre.spike{')' * i})\nsynapse k{i}\n  message spike\n"
             f"  port basal\n  rule r{i}" for i in range(count)]
    cells = [f"population P{i} lif 1\n  threshold = {i + 1}" for i in range(count)]
    return circuit(*kinds, "population input source 1", *cells,
                   *[f"projection W{i} k{i} input -> P{i} gate=learn" for i in range(count)])


def broken(limit: str, hardware: HardwareMap) -> Placed:
    """A circuit and a placement that break this limit of this map."""
    value = int(hardware.number(limit))
    if limit == "core.compartments":
        return placed(chain(cells=value + 1), hardware)
    if limit in ("core.synapse_bits", "core.memory_bits"):
        return placed(chain(sources=value // 16, cells=2), hardware)
    if limit == "core.axons_in":
        return placed(chain(sources=value + 1, cells=2, synapse="fixed", options=""), hardware)
    if limit == "core.axons_out":
        cuts = [("A", 0, value // 8 + 1), *[("B", i, i + 1) for i in range(8)]]
        return placed(chain(cells=value // 8 + 1, more=8), hardware, cuts, list(range(9)))
    if limit in ("core.compartment_configurations", "core.threshold_configurations", "core.synapse_formats",
                 "core.pre_trace_configurations"):
        return placed(many(value + 1), hardware)
    if limit == "core.state_bytes":
        return placed(many_states(value), hardware)
    if limit == "numeric.delay_steps":
        return placed(chain(synapse="fixed", options=f"delay={value + 1}"), hardware)
    if limit == "numeric.message_bits":
        graph = circuit("population input source 2", "population G graded 2", "population B lif 2",
                        "projection W fixed input -> G", "projection V numbers G -> B")
        return placed(graph, hardware if value < 24 else with_limit(hardware, "numeric.state_bits", value + 1))
    if limit == "learning.synaptic_states":
        return placed(chain(synapse="heavy"), hardware)
    return too_large(limit, value, hardware)


def too_large(limit: str, value: int, hardware: HardwareMap) -> Placed:
    """Too much for a chip or the system."""
    if limit.endswith("neurons"):
        return placed(circuit(f"population A lif {value + 1}"), hardware)
    if limit.endswith("synapses"):
        sources = math.isqrt(value)
        graph = circuit(f"population input source {sources}", f"population A lif {value // sources + 1}",
                        "projection W fixed input -> A")
        return placed(graph, hardware)
    if limit == "chip.usable_cores":
        hardware = with_limit(hardware, "system.chips", 1)
        cores = value + 1
    else:
        hardware = with_limit(hardware, limit, value) if value < 10 else with_limit(hardware, limit, 2)
        cores = int(hardware.number("chip.usable_cores") * hardware.number(limit)) + 1
    return placed(chain(cells=cores, more=1), hardware, *one_by_one(cores))


def many_states(size: int) -> Graph:
    states = "\n".join(f"  state s{i} = 0" for i in range(size))
    equations = "\n".join(f"  receive s{i} = prev(s{i}) + basal" for i in range(size))
    graph = circuit("population input source 2")
    text = show_graph(graph) + f"cell large\n  port basal @ soma\n{states}\n{equations}\n  message s0\n"
    return parse_graph(text + "population L large 1\nprojection W fixed input -> L\n")


def limits_of(name: str) -> list[str]:
    hardware = load_map(name)
    return [limit for limit in CHECKED if math.isfinite(hardware.number(limit)) and hardware.value(limit) is not None]


CASES = [(name, limit) for name in shipped_maps() for limit in limits_of(name)]


@pytest.mark.parametrize("name, limit", CASES)
def test_every_limit_of_every_map_is_noticed(name: str, limit: str) -> None:
    hardware, found = broken(limit, load_map(name))
    breach = next(breach for breach in found.breaches if breach.limit == limit)
    scalar = hardware.scalar(limit)
    assert breach.amount > breach.value
    for word in (limit, f"{breach.amount:,.0f}", f"{breach.value:,.0f}", "core ", scalar.source, scalar.kind, name):
        assert word in breach.message, (word, breach.message)
    assert breach.code == NAMED[limit] and BREACHES[limit][1] in str(breach.error)
    assumed = name != "loihi1" and limit in ("core.axons_in", "core.axons_out")
    assert found.verdict == (OPEN if assumed else NO) and breach.excludes != assumed


def test_every_limit_has_a_case_on_some_map_or_is_never_checked() -> None:
    assert {limit for _, limit in CASES} | set(UNCHECKED_ALWAYS) == set(LIMITS) and NAMED.keys() == BREACHES.keys()
    assert {name for name, _ in CASES} == set(shipped_maps()) - {"ideal"}


@pytest.mark.parametrize("name", list(shipped_maps()))
def test_a_small_circuit_keeps_every_limit(name: str) -> None:
    found = fit(chain(synapse="fixed", options=""), load_map(name), methods=METHOD)
    assert found.breaches == ()
    assert found.verdict == (YES if name == "ideal" else OPEN)
    assert set(found.unchecked) == set(unchecked(load_map(name))) and bool(found.unchecked) == (name != "ideal")


@pytest.mark.parametrize("delay, is_open, broken_too", [(8, False, False), (9, True, False), (62, True, False),
                                                        (63, False, True)])
def test_long_delays_of_loihi1_are_open(delay: int, is_open: bool, broken_too: bool) -> None:
    """8 always, up to 62 if fewer compartments are used."""
    found = fit(chain(synapse="fixed", options=f"delay={delay}"), load_map("loihi1"), methods=METHOD)
    assert [breach.code for breach in found.breaches] == ["M211"] * broken_too
    assert list(found.open) == ["numeric.delay_steps"] * is_open
    for shown in (fit_text("x", [found]), fit_page("x", [found]), json.dumps(found.as_dict())):
        assert (f"projection W: {delay} steps, sure up to 8, limit 62 (8 always, up to 62" in shown) == is_open


@pytest.mark.parametrize("cores, is_open, broken_too", [(120, False, False), (121, True, False), (128, True, False),
                                                        (129, True, True)])
def test_whether_loihi2_has_more_than_120_cores_is_open(cores: int, is_open: bool, broken_too: bool) -> None:
    _, found = placed(chain(cells=cores, more=1, synapse="fixed", options=""), load_map("loihi2"),
                      *one_by_one(cores))
    assert ("chip.usable_cores" in found.open) == is_open
    assert ("chip.usable_cores" in {breach.limit for breach in found.breaches}) == broken_too
    assert found.verdict == (NO if broken_too else OPEN)
    assert not is_open or f"chip 0: {min(cores, 128)} cores, sure up to 120, limit 128" in found.open["chip.usable_cores"]


def test_what_is_open_is_no_yes() -> None:
    hardware, graph = load_map("ideal"), chain(synapse="fixed", options="delay=9")
    assert fit(graph, hardware, methods=METHOD).verdict == YES
    doubtful = changed(hardware.scalars["numeric.delay_steps"], value=62, kind="published", sure=8)
    other = replace(hardware, scalars={**hardware.scalars, "numeric.delay_steps": doubtful})
    assert fit(graph, other, methods=METHOD).verdict == OPEN


def test_limits_that_were_never_published_are_listed() -> None:
    assert "core.synapse_bits" in unchecked(load_map("loihi2"))
    assert unchecked(load_map("loihi1"))["core.routing_bytes"] == "the size of an entry was never published"
    assert load_map("loihi1").value("core.routing_bytes") == 20_000


def test_a_broken_assumption_excludes_nothing() -> None:
    found = fit(chain(sources=5000, cells=2, synapse="fixed", options=""), load_map("loihi2"), methods=METHOD)
    assert [breach.limit for breach in found.breaches] == ["core.axons_in"]
    assert not found.breaches[0].excludes and found.verdict == OPEN
    refuse(found)


def test_refusal_is_the_coded_error() -> None:
    found = fit(chain(sources=5000, cells=2, synapse="fixed", options=""), load_map("loihi1"), methods=METHOD)
    with pytest.raises(CortexError, match="M204 loihi1 core 0 .*limit 4,096 .*Davies 2018 p. 89.* too many"):
        refuse(found)


def test_what_binds_is_the_nearest_limit_or_the_one_broken_most() -> None:
    """80 of 1,024 compartments, 2 of 32 settings, 1 of 16 thresholds, 60 of 4,096 axons, 2 of 16 synapse formats; then
    5,012 axons, 1.22 times too many, and a delay ten times too long."""
    kept = fit(chain(synapse="fixed", options=""), load_map("loihi1"), methods=METHOD).binding
    assert kept and (kept["limit"], kept["amount"], kept["value"]) == ("core.synapse_formats", 2, 16)
    assert kept["share"] == 0.125 and kept["where"] == "loihi1 core 0"
    found = fit(chain(sources=5000, cells=2, synapse="fixed", options="delay=620"), load_map("loihi1"), methods=METHOD)
    assert [breach.limit for breach in found.breaches] == ["numeric.delay_steps", "core.axons_in"]
    assert found.binding and found.binding["limit"] == "numeric.delay_steps" and found.binding["share"] == 10


def test_more_cores_than_the_system_has() -> None:
    hardware = load_map("kapoho_point")
    for name, value in (("core.compartments", 1), ("chip.usable_cores", 2)):
        hardware = with_limit(hardware, name, value)
    found = fit(chain(cells=30), hardware, methods=METHOD)
    assert any(b.limit == "system.chips" and b.amount == 20 for b in found.breaches)
