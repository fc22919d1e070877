"""What a step costs, against sums by hand: the mesh in the time, one-sided figures, shared kernels, measured rates."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as changed

from cortexc.compiler.cli import main
from cortexc.compiler.ir import Graph, show_graph
from cortexc.compiler.mapping.accounting import account
from cortexc.compiler.mapping.connectivity import FixedProbability
from cortexc.compiler.mapping.fit import Fit, fit
from cortexc.compiler.mapping.items import Cut, Rates, problem_of
from cortexc.compiler.mapping.problem import Mapping
from cortexc.compiler.mapping.published import comparison
from cortexc.compiler.mapping.report import fit_text, quantity
from cortexc.compiler.report.fit_page import fit_page
from cortexc.hardware_maps import HardwareMap, MapError, load_map

sys.path.insert(0, str(Path(__file__).parent))
from mapping_circuits import chain, circuit, with_limit

ns, pJ = 1e-9, 1e-12
CUTS = [("A", 0, 30), ("B", 0, 10)]
KERNEL = "convolution=2x6x6/3x4x4/3,1,0,1"


def by_hand(positions: list[int], hardware: HardwareMap | None = None, graph: Graph | None = None,
            cuts: list[Cut] | None = None) -> Fit:
    """A chain of 20 inputs, A of 30 cells and B of 10, each on a core at one of these positions."""
    graph = graph or chain()
    accounts = account(graph, hardware or load_map("loihi1"))
    problem = problem_of(graph, accounts, cuts or CUTS)
    mapping = Mapping(np.arange(len(cuts or CUTS)), np.array(positions))
    return Fit(graph, accounts, problem, mapping, "by hand", Rates(), 1)


def estimate(found: Fit, profile: int = 0) -> dict[str, Any]:
    return found.as_dict()["estimates"][profile]


def test_time_of_a_step_by_hand() -> None:
    """Core of A: W 60 and F 10 x 3 synaptic operations, 30 neurons, 600 learning synapses, 3 packets to B."""
    low, high = estimate(by_hand([0, 13]))["time_per_step_s"]
    assert low == pytest.approx((30 * 5.3 + 600 / 63 * 6.1 + 113) * ns)
    core, way = 90 * 3.5 + 30 * 8.4 + 600 * 6.1 + 3 * 2.1, 3 * 4.1  # three tiles to the east
    assert high == pytest.approx((core + 3 * 6.5 + way + 465) * ns)
    south = estimate(by_hand([0, 32]))["time_per_step_s"][1]
    assert south == pytest.approx((core + 3 * 6.5 + 6.5 + 465) * ns)
    assert estimate(by_hand([0, 1]))["time_per_step_s"][1] == pytest.approx((core + 465) * ns), "in one tile"


def test_energy_of_a_step_by_hand() -> None:
    low, high = estimate(by_hand([0, 13]))["energy_per_step_J"]
    common = (60 + 30 + 30) * 23.6 + 4 * 1.7  # synapses onto A and B; 3 packets of A, 1 of B, 3 tiles each
    assert low == pytest.approx((common + 40 * 52 + 12 * 3.0 + 600 / 63 * 120) * pJ)
    assert high == pytest.approx((common + 40 * 81 + 12 * 4.0 + 600 * 120) * pJ)


def test_a_maximum_never_is_a_lower_end() -> None:
    found = by_hand([0, 13])
    each = estimate(found)
    assert each["at_most_time"] and each["time_low_without"] == ["synapse_time"] and each["at_least"]
    text, page = fit_text("x", [found]), fit_page("x", [found])
    for shown in (text, page):
        assert " to at most 4.7" in shown and "not in the lower time: synapse_time" in shown
    name = "cost_profiles.davies2018.synapse_time"
    hardware = load_map("loihi1")
    nominal = HardwareMap("nominal", "", {**hardware.scalars, name: changed(hardware.scalars[name], bound="")},
                          hardware.sources)
    other = by_hand([0, 13], nominal)
    assert not estimate(other)["at_most_time"] and estimate(other)["time_low_without"] == []
    assert "at most" not in fit_text("x", [other]) + fit_page("x", [other])
    more = np.subtract(estimate(other)["time_per_step_s"], each["time_per_step_s"])
    assert more == pytest.approx([90 * 3.5 * ns, 0])


def test_a_profile_says_what_it_does_not_price() -> None:
    davies, sanafe = by_hand([0, 13]).as_dict()["estimates"]
    assert davies["not_priced"] == ["spike_energy", "spike_time"]
    assert sanafe["not_priced"] == ["learning_energy", "learning_time"] and sanafe["at_least"]
    assert not sanafe["at_most_time"] and sanafe["time_low_without"] == []
    silent = estimate(by_hand([0, 13], graph=chain(synapse="fixed", options="")), 1)
    assert silent["not_priced"] == [] and not silent["at_least"]
    apart = estimate(by_hand([0, 130], with_limit(load_map("loihi1"), "system.chips", 2)))
    assert {"links between chips", "barrier and links between chips"} <= set(apart["not_priced"])


def test_a_figure_that_is_not_there_is_an_error() -> None:
    hardware = load_map("loihi1")
    scalars = {k: v for k, v in hardware.scalars.items() if k != "cost_profiles.davies2018.message_energy"}
    with pytest.raises(MapError, match="H103.*message_energy"):
        estimate(by_hand([0, 13], HardwareMap("less", "", scalars, hardware.sources)))


def test_no_step_is_shorter_than_the_shortest() -> None:
    hardware = load_map("loihi1")
    shortest = changed(load_map("loihi2").scalars["chip.minimum_step"], value=1e-6)
    scalars = {**hardware.scalars, "chip.minimum_step": shortest}
    low, high = estimate(by_hand([0, 13], HardwareMap("slow", "", scalars)))["time_per_step_s"]
    assert low == 1e-6 and high == estimate(by_hand([0, 13]))["time_per_step_s"][1] > 1e-6


def test_estimates_of_what_does_not_fit_are_as_if() -> None:
    """5,000 input axons are more than Loihi 1 takes."""
    for sources, word in ((5000, True), (50, False)):
        found = fit(chain(sources=sources, cells=2), load_map("loihi1"), methods=("sequential",))
        assert (found.verdict == "no") == word
        assert [each["as_if_it_fitted"] for each in found.as_dict()["estimates"]] == [word, word]
        assert ("as if it fitted" in fit_text("x", [found])) == word
        assert ("as if it fitted" in fit_page("x", [found])) == word


def kernels(rule: str = "") -> Graph:
    """2 maps of 6 x 6 to 3 of 4 x 4, kernel 3 x 3: 54 weights, 48 x 18 connections."""
    return circuit(f"synapse shared\n  message spike\n  port basal\n  connectivity convolution\n{rule}",
                   "population input source 72", "population A lif 48",
                   f"projection W shared input -> A {KERNEL}{' gate=learn' if rule else ''}")


def test_a_shared_kernel_is_counted_once() -> None:
    found = fit(kernels("  rule hebb"), load_map("loihi1"), methods=("sequential",)).as_dict()
    bench = found["neurobench"]
    assert (bench["ParameterCount"], bench["Connections"], bench["ConnectionSparsity"]) == (54, 864, 0)
    assert bench["per_step"]["SynapticOperations"] == {"Effective_MACs": 0, "Effective_ACs": pytest.approx(86.4),
                                                       "Dense": 864}
    assert found["plasticity"].startswith("54 synapses of 1 projection, shared by 864 connections, are updated")
    assert found["estimates"][0]["always_on_plasticity"]["energy_per_step_J"] == pytest.approx(54 * 120 * pJ)


def test_a_shared_kernel_is_updated_once_per_core() -> None:
    cuts = [("A", 0, 24), ("A", 24, 48)]
    graph = kernels("  rule hebb")
    apart = estimate(by_hand([0, 1], graph=graph, cuts=cuts))["always_on_plasticity"]["energy_per_step_J"]
    assert apart == pytest.approx(2 * 54 * 120 * pJ)
    accounts = account(graph, load_map("loihi1"))
    one = Fit(graph, accounts, problem_of(graph, accounts, cuts), Mapping(np.zeros(2, int)), "by hand", Rates(), 1)
    assert estimate(one)["always_on_plasticity"]["energy_per_step_J"] == pytest.approx(54 * 120 * pJ)


def test_zeros_among_the_weights() -> None:
    """A dense array of 10 x 30, one of 30 x 30 with a tenth of it, 30 weights of pairs, and pairs without weights."""
    graph = circuit("synapse copy\n  message spike\n  port apical\n  connectivity identity",
                    "population input source 10", "population A lif 30", "population B lif 30",
                    "projection W fixed input -> A", "projection V fixed A -> B", "projection L line A -> B",
                    "projection I copy B -> A")
    bench = fit(graph, load_map("ideal"), rules={"V": FixedProbability(30, 30, 0.1)},
                methods=("sequential",)).as_dict()["neurobench"]
    assert bench["ParameterCount"] == pytest.approx(300 + 90 + 30)
    assert bench["Connections"] == pytest.approx(300 + 90 + 30 + 30)
    assert bench["ConnectionSparsity"] == pytest.approx(1 - 420 / 1230)
    assert bench["per_step"]["SynapticOperations"]["Dense"] == 300 + 900 + 30 + 30


RELAYS = """
cell relay
  port drive
  state spike = 0
  receive spike = where(drive > 0.5, 1, 0)
  message spike
synapse onto
  message spike
  port drive
"""


def test_rates_are_measured_on_request(capsys: Any, tmp_path: Path) -> None:
    """One input spikes in even steps, two in odd ones; of the relays one follows every input, one none, one the first:
    3 of 8 inputs and half of the relays spike, but for the first step of the relays."""
    graph = circuit(RELAYS, "population input source 4", "population A relay 3", "population B lif 2",
                    "projection W onto input -> A", "projection V fixed A -> B")
    (tmp_path / "spikes.ir").write_text(show_graph(graph))
    weights = {"W.w": np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]]), "V.w": np.zeros((2, 3))}
    np.savez(tmp_path / "w.npz", **{name: value.astype(float) for name, value in weights.items()})
    (tmp_path / "spikes.toml").write_text(
        'name = "spikes"\n[model]\ncircuit = "spikes.ir"\narrays = "w.npz"\n[run]\nbackend = "native"\n[protocol]\n'
        "epochs = 100\n[data]\ninputs = { input = [[1, 0, 0, 0], [0, 1, 0, 1]] }\n")
    assumed, measured = (fitted(capsys, str(tmp_path / "spikes.toml"), "--map", "loihi1", *more)
                         for more in ((), ("--measure", "100")))
    assert "assumed" in assumed["traffic"]["rates"] and "measured" in measured["traffic"]["rates"]
    assert assumed["neurobench"]["ActivationSparsity"] == pytest.approx(0.9)
    assert assumed["traffic"]["spikes_per_neuron_and_step"] == 0.1
    rate = (4 * 0.375 + 3 * 0.5) / 7
    assert measured["neurobench"]["ActivationSparsity"] == pytest.approx(1 - rate, abs=0.005)
    assert measured["traffic"]["spikes_per_neuron_and_step"] == pytest.approx(rate, abs=0.005)
    acs = measured["neurobench"]["per_step"]["SynapticOperations"]["Effective_ACs"]
    assert acs == pytest.approx(12 * 0.375 + 6 * 0.5, abs=0.05)


def fitted(capsys: Any, *arguments: str) -> dict[str, Any]:
    with pytest.raises(SystemExit) as left:
        main(("fit", *arguments, "--json"))
    out, err = capsys.readouterr()
    assert not left.value.code, err
    return json.loads(out)


def markdown() -> str:
    """The estimated rows as the table of docs/hardware_maps.md."""
    lines = ["| result | profile | measured | estimate | measured / estimate |", "|---|---|---|---|---|"]
    for row in (row for row in comparison() if row["profile"]):
        measured = [quantity(row[f"measured_{unit}"], unit) for unit in ("J", "s") if row[f"measured_{unit}"]]
        profile = row["profile"] + (", without learning" if "learning_energy" in row["not_priced"] else "")
        cells = (f"{row['work']}, {row['network']}", profile, ", ".join(measured), estimated(row), ratio(row))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def estimated(row: dict[str, Any]) -> str:
    energy, seconds = ([quantity(value, unit) for value in row[f"estimate_{unit}"]] for unit in ("J", "s"))
    return (f"{'at least ' if row['at_least'] else ''}{energy[0]} to {energy[1]}, "
            f"{'at most ' if row['at_most_time'] else ''}{seconds[0]} to {seconds[1]}")


def ratio(row: dict[str, Any]) -> str:
    """A least estimate gives a ratio that is at most so much, and the other way round."""
    (low, high), time = ([times(r) for r in row[f"measured_over_estimate_{unit}"] or ()] for unit in ("J", "s"))
    energy = f"{'at most ' if row['at_least'] else ''}{low} to {high}"
    return energy + (f", {'at least ' if row['at_most_time'] else ''}{time[0]} to {time[1]}" if time else "")


def times(number: float) -> str:
    return f"{number:.3g}" if number < 1000 else f"{number:,.0f}"


def test_the_table_of_the_docs_is_the_table() -> None:
    assert markdown() in (Path(__file__).parents[2] / "docs" / "hardware_maps.md").read_text()


def test_published_rows_assume_the_same_for_energy_and_time() -> None:
    """400-400-10: 400 x 400 + 400 x 10 synapses are updated once, whether a tenth of the cells spike or all."""
    row = next(r for r in comparison() if r["profile"] == "davies2018" and "Renner" in r["work"] and r["plasticity_share"])
    update = 164_000 * 120 * pJ
    assert row["estimate_J"][1] * row["plasticity_share"] == pytest.approx(update)
    assert min(row["estimate_s"]) > 0.65e-3, "the busiest core updates its synapses at both ends"
    assert row["measured_over_estimate_s"] == [pytest.approx(1.5e-3 / t) for t in reversed(row["estimate_s"])]
    assert row["at_least"] and row["at_most_time"] and not row["as_if_it_fitted"]
