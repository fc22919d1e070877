"""Small circuits that lowering once got wrong, each beside the interpreter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_graphs.differences import differences, expected, watched

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.backends.runtime import Feed, NoiseSpec
from cortexc.compiler.ir import CortexError, Mirror, parse_graph, problems
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.verify import Setup, trajectory, verify_setup
from cortexc.compiler.verify.mutation.campaign import plain_python

SOURCE = """
graph case
  gate learn
cell source
  input value
  state rate = 0.5
  send rate = value
  message rate
cell relay
  port a
  send out = a * 2
  message out
cell leaky
  port a
  state u = 0.1
  receive u = 0.5 * prev(u) + a
  message u
synapse identity
  message rate
  port a
  connectivity identity
synapse dense
  message rate
  port a
population input source 2
"""


def setup(text: str, gates: dict[str, tuple[float, ...]] | None = None, **arrays: np.ndarray) -> Setup:
    named = {name.replace("__", "."): value for name, value in arrays.items()}
    graph = parse_graph(SOURCE + text).with_(arrays=named)
    protocol = Protocol((Phase("all", 12, 1, gates=tuple((gates or {}).items())),), ("all",))
    return Setup(graph, protocol, np.random.default_rng(0).uniform(-1, 1, (12, 2)))


@pytest.fixture(autouse=True)
def kernels_as_plain_python():
    with plain_python():
        yield


def same_bits(case: Setup, increments: bool = False) -> None:
    wanted = watched(case.graph, increments)
    assert [str(d) for d in differences(expected(case, wanted), trajectory(case, wanted, "native"))] == []


def agrees(case: Setup, granularity: str = "network", **options) -> None:
    result = verify_setup(case, "native", granularity, **options)
    assert result.passed and result.max_abs_error == 0, result.reasons


@pytest.mark.parametrize("granularity", ["network", "population"])
@pytest.mark.parametrize("delay", [1, 2, 3])
@pytest.mark.parametrize("cell", ["relay", "leaky"])
def test_identity_with_a_delay(cell, delay, granularity):
    """The message has moved on by the time the postsynaptic cell reads it."""
    agrees(setup(f"population out {cell} 2\nprojection I identity input -> out delay={delay}\n"), granularity)


def test_fused_update_reads_the_gates_of_its_own_step():
    rule = "rule r\n  increment 0.1 * gate.learn * post.u * pre.rate\nsynapse p\n  message rate\n  port a\n  rule r\n"
    agrees(setup(rule + "population out leaky 2\nprojection W p input -> out lowering=fused\n",
                 {"learn": (1.0, 0.0, 0.0)}, W__w=np.eye(2)))


def test_what_reads_no_port_does_not_wait_for_one():
    """A loop of delay 1 through a cell whose message comes from its past alone."""
    cell = "cell spiking\n  port a\n  state v = 0.4\n  receive spike = prev(v) > 0.5\n  receive v = prev(v) + a\n" \
           "  message spike\nsynapse recurrent\n  message spike\n  port a\n"
    agrees(setup(cell + "population s spiking 2\nprojection R recurrent s -> s\nprojection W dense input -> s\n",
                 R__w=np.full((2, 2), -0.3), W__w=np.eye(2)))


MIRRORED = "population out leaky 2\nprojection W dense input -> out\nprojection V dense input -> out\n"


@pytest.mark.parametrize("operations", [
    "add:x transpose negate", "negate add:x transpose", "transpose add:x truncate", "add:x times:y", "add:x sign",
    "negate sign", "add:x negate", "truncate negate truncate", "times:y add:x transpose sign", "redraw:x transpose"])
def test_operations_of_mirrors_run_in_their_order(operations):
    """Zeros keep their sign; what is drawn turns with the weights."""
    arrays = {"x": np.array([[0.1, 0.2], [0.3, 0.4]]), "y": np.array([[0.0, -1.0], [2.0, 0.5]])}
    w = np.array([[-0.1, 0.0], [3.0, -0.4]])
    used = {name: array for name, array in arrays.items() if f":{name}" in operations}
    same_bits(setup(MIRRORED + f"mirror V = W : {operations}\n", W__w=w, V__w=np.zeros((2, 2)), **used))


def test_two_mirrors_of_one_target_have_their_own_arrays():
    text = MIRRORED + "mirror V = W : add:x\nmirror V = W : add:y after gate=learn\n"
    case = setup(text, {"learn": (1.0, 0.0)}, W__w=np.eye(2), V__w=np.zeros((2, 2)), x=np.ones((2, 2)), y=np.zeros((2, 2)))
    agrees(case)
    run = Native(lower(case.graph), case.protocol, case.samples, [1])
    run.run(1)
    assert run.value("V.w").tolist() == [np.eye(2).tolist()]
    run.run(1)
    assert run.value("V.w").tolist() == [(np.eye(2) + 1).tolist()]


def test_a_mirror_that_cuts_to_two_shapes_is_refused():
    two = "population out leaky 3\npopulation up leaky 4\nprojection W dense input -> out\nprojection V dense input -> up\n"
    case = setup(two + "mirror V = W : truncate transpose truncate\n", W__w=np.zeros((3, 2)), V__w=np.zeros((4, 2)))
    with pytest.raises(CortexError, match="E504 mirror 'V' of 'W' cuts twice"):
        lower(case.graph)


def test_a_mirror_adds_in_the_targets_shape():
    two = "population out leaky 3\npopulation up leaky 2\nprojection W dense input -> out\nprojection V dense input -> up\n"
    case = setup(two + "mirror V = W : add:x truncate\n", W__w=np.zeros((3, 2)), V__w=np.zeros((2, 2)), x=np.zeros((2, 2)))
    assert "E251" in [p.code for p in problems(case.graph)]


def test_a_population_that_nothing_reads():
    case = setup("population out relay 2\nprojection I identity input -> out\n")
    assert [o.label for o in lower(case.graph).step if o.label == "out"] == []
    agrees(case)


def test_limits_do_not_hide_what_is_not_a_number():
    rule = "rule r\n  increment log(-1 - pre.rate * pre.rate)\nsynapse p\n  message rate\n  port a\n  rule r\n" \
           "  limits -1 1\n"
    case = setup(rule + "population out leaky 2\nprojection W p input -> out\n", W__w=np.zeros((2, 2)))
    result = verify_setup(case, "native")
    assert not result.passed and result.first_divergence.variable == "W.w"
    assert np.isnan(result.first_divergence.got) and np.isnan(result.first_divergence.expected)


# ---- what random circuits brought up

TABLE = {"table__t": np.array([0.25, -0.5, 1.5])}
PLASTIC = "population out leaky {size}\nprojection W p input -> out gate=learn\n"


def plastic(rule: str, size: int = 2, cell: str = "", synapse: str = "", **arrays: np.ndarray) -> Setup:
    """The input teaches `out` by a rule's lines; the gate is on in every second step."""
    lines = "".join(f"  {line}\n" for line in rule.split("; "))
    more = "".join(f"  {line}\n" for line in synapse.split("; ") if line)
    text = f"rule r\n{lines}synapse p\n  message rate\n  port a\n  rule r\n{more}" + PLASTIC.format(size=size)
    w = np.random.default_rng(1).uniform(-0.4, 0.4, (size, 2))
    return setup(cell + (text.replace("out leaky", "out own") if cell else text), {"learn": (1.0, 0.0)},
                 **{"W__w": w[:, 0] if "one_to_one" in synapse else w, **arrays})


@pytest.mark.parametrize("value", ["lookup(t, 1)", "interpolate(t, p)", "pow(2 + prev(u), lookup(t, 0))"])
def test_tables_of_constants(value):
    cell = f"cell c\n  port a\n  parameter p 1 = 0.5\n  state u = 0.5\n  receive u = tanh(a) + {value}\n"
    agrees(setup(cell + "population out c 2\nprojection W dense input -> out\n", W__w=np.eye(2), **TABLE))


@pytest.mark.parametrize("value", ["1 / 0", "a / (1 > 2)", "1 / where(1 > 2, 1, 0)", "fixed(1, 0, 0, 0)", "0 / d_relu(-1)"])
def test_division_by_a_constant_zero_is_as_ieee_says(value):
    cell = f"cell c\n  port a\n  state u = 0.5\n  receive u = where({value} == 1, 1, {value})\n"
    case = setup(cell + "population out c 2\nprojection W dense input -> out\n", W__w=np.eye(2))
    same_bits(case)


@pytest.mark.parametrize("factor", ["f = a * 2", "f = tanh(q)", "f = q * a"])
def test_rules_read_factors_of_ports_and_parameters(factor):
    """A factor that nothing stores goes into the rule; the sum of a port's currents is nowhere in memory."""
    cell = f"cell own\n  port a\n  parameter q 1 = 0.5\n  state u = 0.1\n  receive u = 0.5 * prev(u) + a\n  factor {factor}\n"
    case = plastic("increment 0.1 * (post.f + pre.rate)", cell=cell)
    wanted = ["W.w", "out.u"]  # not the factor, which would then be in memory
    assert not list(differences(expected(case, wanted), trajectory(case, wanted, "native")))


def test_one_to_one_sums_the_products_of_pairs():
    agrees(plastic("increment post.u * pre.rate; optimiser accumulate", synapse="connectivity one_to_one"))


@pytest.mark.parametrize("size", [2, 9])
def test_the_norm_of_a_clipped_sum_counts_real_cells_only(size):
    """An increment without a postsynaptic factor is not 0 in the padding of a row."""
    agrees(plastic("increment pre.rate - 0.5; optimiser clipped(0.2)", size))


def test_a_clipped_projection_onto_nothing():
    agrees(plastic("increment post.u * pre.rate; optimiser clipped(0.2)", 0))


@pytest.mark.parametrize("optimiser", ["low_pass(0.3)", "accumulate", "none"])
@pytest.mark.parametrize("increments", [False, True])
def test_silent_rows_of_whole_units(optimiser, increments):
    """A low-pass moves weights while the cell is silent; observed increments are 0 then."""
    case = plastic(f"increment post.u * prev(pre.rate); optimiser {optimiser}", synapse="unit 0.25",
                   W__w=np.array([[0.5, -0.0], [0.25, -0.25]]))
    case.samples[::2] = 0.0
    same_bits(case, increments)


@pytest.mark.parametrize("kind", ["uniform", "shared", "lava_weights"])
def test_samples_of_a_seed_share_the_random_numbers_of_a_rule(kind):
    case = plastic(f"noise n {kind}; increment n - 0.5", synapse="role per_sample")
    case = Setup(case.graph.with_(seeds=2, samples=2), case.protocol, case.samples, (1, 2))
    agrees(case)
    (chunk,) = trajectory(case, ["W.w"], "native")
    one, two, three, four = chunk["W.w"][-1]
    assert np.array_equal(one, two) and np.array_equal(three, four)
    assert kind == "lava_weights" or not np.array_equal(one, three)


def minibatch(case: Setup, samples: int) -> Setup:
    rows = np.random.default_rng(1).uniform(-1, 1, (12 * samples, case.samples.shape[1]))
    (phase,) = case.protocol.phases
    protocol = replace(case.protocol, phases=(replace(phase, rows=len(rows)),))
    return Setup(case.graph.with_(samples=samples), protocol, rows)


@pytest.mark.parametrize("optimiser", ["accumulate", "clipped(0.1)", "adam(0.01, 0.9, 0.999, 1e-8)"])
@pytest.mark.parametrize("samples", [1, 2, 9])
@pytest.mark.parametrize("beside", ["nothing", "mirror before", "mirror after", "increments observed"])
def test_a_product_less_a_decay_in_minibatches(optimiser, samples, beside):
    """Each sample takes the decay of the weight that was there; of a mirrored one, before the mirror."""
    case = plastic(f"increment post.u * pre.rate - 0.25 * w; optimiser {optimiser}", 17, synapse="role per_seed")
    if beside.startswith("mirror"):
        mirrored = Mirror("W", "V", (), beside == "mirror after")
        other = replace(case.graph.projection("W"), name="V", pre="input", gate=None)
        case = replace(case, graph=case.graph.with_(
            projections=(*case.graph.projections, other), mirrors=(mirrored,),
            arrays=case.graph.arrays | {"V.w": case.graph.arrays["W.w"] * 0.5}))
    case = minibatch(case, samples)
    same_bits(case, beside == "increments observed")
    in_memory = any(name.startswith("increment") for name in lower(case.graph).kernels.kernels)
    assert in_memory == (samples == 1 or beside == "mirror before")


@pytest.mark.parametrize("samples", [2, 9])
def test_a_list_of_graded_messages_in_minibatches(samples):
    lists = {"pre": np.array([0, 1, 1, 0]), "post": np.array([2, 0, 2, 2]), "w": np.array([0.5, -2.0, 0.25, 0.1])}
    text = "synapse few\n  message rate\n  port a\n  connectivity sparse\npopulation out leaky 3\nprojection W few input -> out\n"
    case = minibatch(setup(text, **{f"W__{key}": array for key, array in lists.items()}), samples)
    case.samples[::3] = 0.0
    same_bits(case)


def test_a_fused_update_whose_increment_is_observed_is_not_fused():
    case = plastic("increment post.u * pre.rate")
    case = Setup(case.graph.with_(projections=tuple(replace(q, lowering="fused") for q in case.graph.projections)),
                 case.protocol, case.samples)
    same_bits(case, increments=True)


# ---- feature maps

def maps(kind: str, shapes: str, rule: str, lower: int, upper: int, weights: tuple[int, ...], seed: int = 1) -> Setup:
    """One plastic projection between the input (lower) maps and leaky (upper) ones, or back."""
    back = kind.startswith("transposed")
    lines = "".join(f"  {line}\n" for line in rule.split("; "))
    text = f"rule r\n{lines}synapse p\n  message {'u' if back else 'rate'}\n  port a\n  rule r\n  connectivity {kind}\n"
    ends = ("up", "out") if back else ("input", "out")
    text += f"population out leaky {lower if back else upper}\n" + (f"population up leaky {upper}\n" if back else "")
    text += f"projection W p {ends[0]} -> {ends[1]} gate=learn convolution={shapes}\n"
    source = SOURCE.replace("population input source 2", f"population input source {lower}")
    graph = parse_graph(source + text).with_(arrays={"W.w": np.random.default_rng(seed).uniform(-0.4, 0.4, weights)})
    protocol = Protocol((Phase("all", 12, 1, gates=(("learn", (1.0, 0.0)),)),), ("all",))
    return Setup(graph, protocol, np.random.default_rng(0).uniform(-1, 1, (12, lower)))


@pytest.mark.parametrize("optimiser", ["none", "accumulate", "clipped(0.1)"])
def test_maps_with_as_many_taps_as_cells(optimiser):
    """Eight cells and eight taps or kernels at both ends."""
    agrees(maps("local", "8x1x1/8x1x1/1,1,0,1", f"increment post.u * pre.rate; optimiser {optimiser}", 8, 8, (8, 1, 1, 8, 1, 1)))
    agrees(maps("convolution", "2x2x2/8x1x1/2,1,0,1", f"increment post.u * pre.rate; optimiser {optimiser}", 8, 8, (8, 2, 2, 2)))


@pytest.mark.parametrize("increment", ["pre.rate * post.u * 0.1", "0.1 * pre.rate * post.u", "post.u * (pre.rate * 0.3)",
                                       "post.u * 0.1 * (pre.rate - post.u * pre.rate)", "where(post.u > pre.rate, 0.1, -0.2)"])
@pytest.mark.parametrize("optimiser", ["none", "accumulate"])
def test_rules_between_maps_in_any_order(increment, optimiser):
    rule = f"increment {increment}; optimiser {optimiser}"
    agrees(maps("convolution", "1x4x4/2x2x2/3,1,1,2", rule, 16, 8, (2, 1, 3, 3)))
    agrees(maps("local", "1x4x4/2x2x2/3,1,1,2", rule, 16, 8, (2, 2, 2, 1, 3, 3)))
    agrees(maps("local", "8x1x1/8x1x1/1,1,0,1", rule, 8, 8, (8, 1, 1, 8, 1, 1)))


def test_increments_between_maps_keep_the_sign_of_zero():
    case = maps("convolution", "1x2x2/1x2x2/3,1,1,1", "increment -post.u * pre.rate", 4, 4, (1, 1, 3, 3))
    case.samples[::2] = 0.0
    (chunk,) = expected(case, ["W.increment"])
    assert np.signbit(chunk["W.increment"][chunk["W.increment"] == 0]).any()
    assert not list(differences([chunk], trajectory(case, ["W.increment"], "native")))


@pytest.mark.parametrize("kind, weights", [("transposed_convolution", (2, 1, 2, 2)), ("transposed_local", (2, 1, 1, 1, 2, 2))])
def test_the_interpreter_runs_rules_on_the_way_back(kind, weights):
    """The increment of a weight is the sum over its pairs of a lower and an upper unit, whichever way it goes."""
    case = maps(kind, "1x2x2/2x1x1/2,1,0,1", "increment post.u * pre.u", 4, 2, weights)
    case = Setup(case.graph.with_(arrays={**case.graph.arrays, "up.u": np.array([0.5, -0.25])}), case.protocol, case.samples)
    interpreter = Interpreter(case.graph)
    values = interpreter.step({"input.value": np.zeros(4)}, {"learn": 1.0}, {})
    wanted = values["up.u"][0][:, None] * values["out.u"][0]
    assert np.abs(wanted).max() > 0 and np.array_equal(values["W.increment"].reshape(2, 4), wanted)
    with pytest.raises(CortexError, match="E501"):
        lower(case.graph)


# ---- noise


def feed(kind: str, columns: list, samples: int = 1, seeds: tuple[int, ...] = (7,)) -> np.ndarray:
    protocol = Protocol((Phase("all", 2000, 1),), ("all",)).as_data()
    return Feed(protocol, [], NoiseSpec(kind, list(seeds), columns, 0, samples)).block(2000).noise


@pytest.mark.parametrize("kind", ["counter", "legacy"])
def test_two_draws_of_a_population_are_two(kind):
    noise = feed(kind, [(0, 3, "normal"), (0, 3, "uniform"), (0, 3, "normal")])
    assert abs(np.corrcoef(noise.T) - np.eye(9)).max() < 0.12
    assert noise[:, 3:6].min() >= 0 and noise[:, 3:6].max() <= 1 and noise[:, :3].min() < -2


@pytest.mark.parametrize("kind", ["counter", "legacy"])
def test_samples_draw_for_themselves(kind):
    noise = feed(kind, [(0, 2, "normal"), (1, 1, "normal")], samples=3, seeds=(7, 8))
    assert noise.shape == (2000, 18) and abs(np.corrcoef(noise.T) - np.eye(18)).max() < 0.12


def test_legacy_noise_of_one_sample_is_the_published_order():
    """One generator; per step the populations in order."""
    drawn = np.random.RandomState(7).normal(0, 1, (2000, 5))
    assert np.array_equal(feed("legacy", [(1, 3, "normal"), (0, 2, "normal")]), drawn)


def test_division_by_a_port_that_nothing_reaches():
    cell = "cell c\n  port a\n  port b\n  state u = 0.5\n  receive u = where(1 / b > 0, 1 / b, a)\n"
    same_bits(setup(cell + "population out c 2\nprojection W dense input -> out\n", W__w=np.eye(2)))


def test_a_hoisted_message_without_a_state():
    text = "population out leaky 2\nprojection W dense source -> out lowering=hoisted\n"
    case = setup("cell plain\n  input value\n  send rate = value\n  message rate\npopulation source plain 2\n" + text, W__w=np.eye(2))
    case = replace(case, samples=np.hstack([case.samples, case.samples]))
    same_bits(case)


def test_only_states_move_where_the_gate_is_off():
    """No random number is drawn there that only the increment reads, and no increment is formed; the bits are those of
    the interpreter, in every step."""
    text = """rule kept
  noise rounding uniform
  noise jitter uniform
  state tag = 0
  update tag = 0.5 * prev(tag) + floor(post.u * prev(pre.rate) + jitter)
  increment 0.25 * floor(4 * prev(tag) + rounding)
synapse learnt
  message rate
  port a
  rule kept
population output leaky 3
projection W learnt input -> output gate=learn
"""
    found = setup(text, {"learn": (0.0, 0.0, 1.0)}, W__w=np.ones((3, 2)))
    source = lower(found.graph).source
    kernel = source[source.index("def learn"):]
    learning, _, still = kernel[:kernel.index("\ndef ")].partition("else:")
    assert "u_rounding" in learning and "dw" in learning and "u_jitter" in still
    assert "u_rounding" not in still and "dw" not in still
    same_bits(found)
