"""Read-sets: what a rule reads is judged by where it is computed, not by its name."""

import numpy as np
import pytest

from cortexc.compiler.ir import CortexError, Graph, PlasticityRule, State, parse, parse_graph, show
from cortexc.compiler.passes.read_sets import (
    ReadSet,
    check_increments,
    compartment,
    explain_text,
    increment_problems,
    offending_term,
    read_sets,
    traces,
)

CIRCUIT = """
graph two_cells
  gate learn
cell sender
  port soma @ soma
  parameter tau 1 = 4
  noise white normal
  input value
  state u = 0
  state rate = 0
  state filtered = 0
  state twice = 0
  state gated = 0
  state drifting = 0
  state noisy = 0
  send voltage = prev(u)
  send rate = logistic(voltage)
  receive u = prev(u) + soma
  factor filtered = prev(filtered) + (rate - prev(filtered)) / tau
  factor twice = prev(twice) + filtered - prev(rate)
  factor squared = rate * rate
  factor gated = where(gate.learn > 0, prev(gated) + rate, 0)
  factor drifting = prev(drifting) * tau
  factor noisy = prev(noisy) + rate + white
  factor mixed = filtered + u
  factor through = prev(noisy) + rate
  message rate
  message voltage
cell receiver
  port basal @ basal
  port apical @ top
  port soma @ soma
  input reward
  state u = 0
  state apical_trace = 0
  state from_basal = 0
  receive u = prev(u) + basal
  receive from_top = apical * 2
  receive apical_trace = prev(apical_trace) + from_top
  receive both = from_top + basal
  receive declared = from_top + basal @ spine
  receive onward = declared + 1
  receive from_basal = prev(from_basal) + basal
  receive alone = reward
rule learning
  parameter eta 1 = 1
  increment eta
synapse plastic
  message rate
  port basal
  rule learning
population a sender 4
population b receiver 4
projection W plastic a -> b
"""


def circuit(increment: str = "eta", *changes: tuple[str, str]) -> Graph:
    text = CIRCUIT
    for old, new in (("  increment eta", f"  increment {increment}"), *changes):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return parse_graph(text)


def read_set(increment: str, *changes: tuple[str, str]) -> ReadSet:
    found = read_sets(circuit(increment, *changes))
    assert [each.projection for each in found] == ["W"]
    return found[0]


# --- presynaptic ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read, kind", [
    ("pre.rate", "transmitted"), ("prev(pre.rate)", "transmitted"), ("prev(prev(prev(pre.rate)))", "transmitted"),
    ("pre.filtered", "trace"), ("prev(pre.filtered)", "trace"), ("pre.twice", "trace"), ("pre.squared", "trace"),
    ("pre.gated", "trace"), ("pre.drifting", "trace"), ("pre.voltage", "elsewhere"), ("pre.u", "elsewhere"),
    ("prev(pre.u)", "elsewhere"), ("pre.value", "elsewhere"), ("pre.noisy", "elsewhere"),
    ("pre.mixed", "elsewhere"), ("pre.through", "elsewhere")])
def test_what_the_synapse_knows_of_the_presynaptic_cell(read: str, kind: str) -> None:
    found = read_set(f"eta * {read} * post.u").read(read)
    assert found.kind == kind and found.local == (kind != "elsewhere")
    assert found.depth == read.count("prev(")


def test_what_is_not_transmitted_says_so() -> None:
    found = read_set("pre.voltage * post.u")
    assert not found.local and [r.text for r in found.nonlocal_reads] == ["pre.voltage"]
    assert found.read("pre.voltage").reason == "not transmitted: the synapse receives 'rate' of cell 'sender'"


def test_it_is_the_message_and_not_its_name_that_counts() -> None:
    other = ("synapse plastic\n  message rate", "synapse plastic\n  message voltage")
    found = read_set("pre.voltage * pre.rate * pre.filtered", other)
    assert {r.text: r.kind for r in found.reads} == {
        "pre.voltage": "transmitted", "pre.rate": "trace", "pre.filtered": "trace"}
    assert read_set("pre.u", other).read("pre.u").kind == "elsewhere"


def test_a_message_cannot_be_read_before_it_arrives() -> None:
    found = read_set("pre.rate + prev(pre.rate) + prev(prev(pre.rate)) + prev(pre.filtered)",
                     ("plastic a -> b", "plastic a -> b delay=3"))
    kinds = {r.text: (r.kind, r.depth) for r in found.reads}
    assert kinds == {"pre.rate": ("elsewhere", 0), "prev(pre.rate)": ("elsewhere", 1),
                     "prev(prev(pre.rate))": ("transmitted", 2), "prev(pre.filtered)": ("elsewhere", 1)}
    assert found.read("pre.rate").reason == "not there yet: message 'rate' arrives 2 steps after it is computed"


@pytest.mark.parametrize("delay, local", [("", True), ("delay=2", False)])
def test_a_spike_that_leaves_at_the_end_of_its_step_is_there_before_the_weight_is_used(delay: str, local: bool) -> None:
    text = ("graph g\ncell lif = library.lif_delta\nrule r = library.stdp_additive\nsynapse s\n  message spike\n"
            "  port synapses\n  rule r\npopulation a lif 2\npopulation b lif 2\nprojection W s a -> b " + delay + "\n")
    found = read_sets(parse_graph(text).with_(arrays={"W.w": np.ones((2, 2))}))[0]
    assert found.local is local and found.read("pre.spike").kind == ("transmitted" if local else "elsewhere")


def test_traces_are_closed_under_what_they_read() -> None:
    cell = circuit().cell("sender")
    assert traces(cell, "rate") == {"filtered", "twice", "squared", "gated", "drifting"}
    assert traces(cell, "u") == {"drifting", "rate", "voltage", "filtered", "twice", "squared", "gated", "mixed"}


# --- postsynaptic ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity, place", [
    ("from_top", "top"), ("apical_trace", "top"), ("from_basal", "basal"), ("both", "soma"), ("declared", "spine"),
    ("onward", "spine"), ("alone", "soma"), ("apical", "top"), ("u", "basal")])
def test_the_compartment_of_a_quantity(quantity: str, place: str) -> None:
    assert compartment(circuit().cell("receiver"), quantity) == place
    if quantity != "apical":
        found = read_set(f"post.{quantity} * pre.rate").read(f"post.{quantity}")
        assert (found.kind, found.compartment, found.local) == ("postsynaptic", place, True)


# --- the synapse ----------------------------------------------------------------------------------------------


def test_weights_states_gates_and_constants() -> None:
    state = ("  increment", "  state e = 0\n  update e = prev(e) * dt + post.u\n  increment")
    found = read_set("eta * w * e * gate.learn * post.from_top - w", state)
    assert {r.text: (r.kind, r.compartment) for r in found.reads} == {
        "prev(e)": ("synaptic", "synapse"), "dt": ("constant", "synapse"), "post.u": ("postsynaptic", "basal"),
        "eta": ("constant", "synapse"), "w": ("synaptic", "synapse"), "e": ("synaptic", "synapse"),
        "gate.learn": ("protocol", "protocol"), "post.from_top": ("postsynaptic", "top")}
    assert found.local


def test_what_only_an_update_reads_counts() -> None:
    state = ("  increment", "  state e = 0\n  update e = pre.voltage\n  increment")
    assert not read_set("e * post.u", state).local


def test_a_mirror_makes_a_projection_non_local_with_and_without_a_rule() -> None:
    plain = "synapse plain\n  message rate\n  port apical\nprojection B plain a -> b\n"
    text = CIRCUIT + plain + "mirror B = W : transpose\n"
    plastic, mirrored = read_sets(parse_graph(text))
    assert (plastic.projection, plastic.local) == ("W", True)
    assert (mirrored.projection, mirrored.rule, mirrored.local) == ("B", None, False)
    assert "weight transport" in mirrored.reads[0].reason and mirrored.reads[0].name == "W.w"
    taught = read_sets(parse_graph(text.replace("mirror B = W", "mirror W = B")))[0]
    assert (taught.projection, taught.rule, taught.local) == ("W", "learning", False)


def test_a_shared_kernel_is_non_local() -> None:
    kernel = ("  rule learning", "  connectivity convolution\n  rule learning")
    found = read_set("eta * pre.rate", kernel, ("plastic a -> b", "plastic a -> b convolution=1x2x2/1x2x2/1,1,0,1"))
    assert not found.local and "4 positions" in found.nonlocal_reads[0].reason


@pytest.mark.parametrize("optimiser, local", [("clipped(1)", False), ("low_pass(dt)", True), ("accumulate()", True)])
def test_a_norm_over_all_weights_is_non_local(optimiser: str, local: bool) -> None:
    found = read_set("eta * pre.rate", ("synapse plastic", f"  optimiser {optimiser}\nsynapse plastic"))
    assert found.local is local


# --- sums of products -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("increment, offending", [
    ("pre.rate * post.u", None), ("eta * (post.u - post.v) * prev(pre.rate) - eta * w", None), ("w", None),
    ("exp(pre.rate) * tanh(post.u) * w * e", None), ("(1 - w) * pre.rate * post.u", None),
    ("(pre.rate + post.u) * (w - e)", None), ("pre.rate / (post.u * w)", None), ("-(pre.rate * post.u)", None),
    ("where(post.u > 1, pre.rate, w)", None), ("where(post.u > 1 and pre.rate > 0, w, 0)", None),
    ("(post.u > 1 and pre.rate > 0) * w", None), ("exp(w * e)", None), ("where(gate.on, pre.rate * post.u, 0)", None),
    ("exp(pre.rate * post.u)", "exp(pre.rate * post.u)"), ("w + tanh(w * post.u)", "tanh(w * post.u)"),
    ("eta * (pre.rate * max(post.u, e))", "max(post.u, e)"), ("w / (pre.rate + post.u)", "w / (pre.rate + post.u)"),
    ("where(pre.rate > post.u, 1, w)", "where(pre.rate > post.u, 1, w)"), ("(pre.rate > w) * e", "pre.rate > w"),
    ("(pre.rate or post.u) * w", "pre.rate or post.u"), ("post.u * exp(-pre.rate / w)", "exp(-pre.rate / w)")])
def test_increments_are_sums_of_products(increment: str, offending: str | None) -> None:
    term = offending_term(PlasticityRule("r", parse(increment), states=(State("e"),)))
    assert (show(term) if term else None) == offending


def test_another_increment_is_refused_with_its_term() -> None:
    graph = circuit("eta * exp(pre.rate * post.u) - w")
    with pytest.raises(CortexError, match="rule 'learning' is not a sum of products: 'exp\\(pre.rate \\* post.u\\)' "
                                          "mixes postsynaptic and presynaptic") as caught:
        check_increments(graph)
    assert caught.value.code == "E260" and len(list(increment_problems(graph))) == 1
    assert read_sets(graph)[0].offending == "exp(pre.rate * post.u)"


def test_a_sum_of_products_passes() -> None:
    check_increments(circuit("eta * pre.rate * post.u"))


# --- circuits and text ----------------------------------------------------------------------------------------


def test_pal_is_local_in_every_rule(pal) -> None:
    found = {each.projection: each for each in read_sets(pal((2, 3, 4, 2)))}
    assert len(found) == 3 + 2 * 3 and all(each.local and each.offending is None for each in found.values())
    feedback = {r.text: (r.kind, r.compartment) for r in found["BPP_0"].reads if r.kind != "constant"}
    assert feedback == {"post.xi": ("postsynaptic", "apical"), "w": ("synaptic", "synapse"),
                        "prev(pre.rate_high_pass)": ("trace", "soma")}
    assert found["BPI_1"].read("prev(post.apical_potential)").compartment == "apical"
    assert found["WPP_0"].read("prev(pre.rate)").kind == "transmitted"


def test_pal_with_copied_weights_is_not(pal) -> None:
    found = {each.projection: each.local for each in read_sets(pal(variant="BP"))}
    assert found == {"WPP_0": True, "WPP_1": True, "WIP_0": True, "BPP_0": False, "BPI_0": False}


def test_the_text_rule_by_rule(pal) -> None:
    blocks = explain_text(pal(variant="BP")).split("\n\n")
    assert blocks[0] == """\
rule forward: local
  projections WPP_0, WPP_1
  post.mismatch   soma  this step   local: computed in the postsynaptic cell
  prev(pre.rate)  soma  1 step ago  local: transmitted as the message, kept at the synapse for 1 step
  constants dt, eta
  increment is a sum of products"""
    assert blocks[2] == """\
no rule: NON-LOCAL
  projections BPP_0
  WPP_1.w  synapse  this step  NON-LOCAL: weight transport: a mirror copies projection 'WPP_1' (transpose)"""


def test_the_text_names_the_offending_term_and_a_graph_without_learning() -> None:
    assert "increment is NOT a sum of products (E260): exp(pre.rate * post.u)" in explain_text(
        circuit("exp(pre.rate * post.u)"))
    assert explain_text(Graph("plain")) == "graph plain has no plastic projection.\n"
