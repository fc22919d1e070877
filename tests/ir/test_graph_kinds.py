"""One small circuit of each kind that the IR must be able to say: verified, read back, and run on the interpreter
against values worked out by hand."""

import math

import numpy as np
import pytest

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import CortexError, Graph, parse_graph, show_graph, verify

SOURCE = """
cell source
  input value
  state rate = 0
  send rate = value
  message rate
"""

SPIKING = SOURCE + """
cell spiking
  port dendrite @ dendrite
  parameter decay 1 = 0.5
  parameter threshold 1 = 1
  state voltage = 0
  send spike = prev(voltage) >= threshold
  receive kept = where(spike, 0, prev(voltage))
  receive voltage = decay * kept + dendrite
  message spike
synapse drive
  message rate
  port dendrite
synapse excitation
  message spike
  port dendrite
population input source 1
population first spiking 1
population second spiking 1
projection W drive input -> first
projection V excitation first -> second
"""

SIGNED_ERROR = SOURCE + """
cell error_unit
  port target @ soma
  port prediction @ soma
  state difference = 0
  send error = prev(difference)
  receive difference = target - prediction
  message error
cell unit
  port feedback @ apical
  state u = 1
  send rate = prev(u)
  receive u = prev(u) + 0.5 * feedback
  message rate
synapse teaching
  message rate
  port target
  connectivity identity
synapse prediction
  message rate
  port prediction
  connectivity one_to_one
synapse correction
  message error
  port feedback
population teacher source 2
population hidden unit 2
population wrong error_unit 2
projection teach teaching teacher -> wrong
projection P prediction hidden -> wrong
projection B correction wrong -> hidden
"""

GATED = SOURCE + """
cell error_unit
  port soma @ soma
  input activity
  state error = 0
  send gated = d_relu(activity) * prev(error)
  receive error = soma
  message gated
cell unit
  port apical @ apical
  receive feedback = apical
synapse in_
  message rate
  port soma
  connectivity identity
synapse backward
  message gated
  port apical
population input source 3
population wrong error_unit 3
population hidden unit 2
projection E in_ input -> wrong
projection B backward wrong -> hidden
"""

BLOCKS = SOURCE + """
cell unit
  port basal @ basal
  state u = 0
  receive u = basal
rule hebb
  increment post.u * pre.rate
synapse skip
  message rate
  port basal
  connectivity blocks
  rule hebb
population areas source 4
population targets unit 3
projection W skip areas -> targets blocks=2,1/1,3/0:0,1:1
"""

LIMITED = SOURCE + """
cell unit
  port basal @ basal
  state u = 0
  receive u = basal
rule constant
  parameter step 1
  increment step
synapse excitatory
  message rate
  port basal
  rule constant
  sign non_negative
  limits -5 1
synapse inhibitory
  message rate
  port basal
  rule constant
  sign non_positive
population input source 1
population up unit 1
population down unit 1
projection W excitatory input -> up
  step = 0.75
projection V excitatory input -> down
  step = -0.75
projection I inhibitory input -> down
  step = 0.75
"""

MIRRORED = SOURCE + """
cell unit
  port basal @ basal
  port apical @ apical
  state u = 0
  send rate = prev(u)
  receive u = basal + apical
  message rate
rule constant
  increment 1
synapse forward
  message rate
  port basal
  rule constant
synapse feedback
  message rate
  port apical
population input unit 2
population hidden unit 3
population narrow unit 2
population wide unit 4
projection W forward input -> hidden
projection B feedback hidden -> input
projection C feedback narrow -> input
projection D feedback wide -> input
mirror B = W : transpose negate add:B.offset
mirror C = W : transpose truncate
mirror D = B : truncate
"""

CONVOLUTION = SOURCE + """
cell unit
  port basal @ basal
  state u = 0
  receive u = basal
rule hebb
  parameter eta 1 = 0.25
  increment eta * post.u * pre.rate - eta * w
synapse kernel
  message rate
  port basal
  connectivity convolution
  rule hebb
population image source 24
population maps unit 4
projection K kernel image -> maps convolution=1x4x6/2x1x2/2,1,0,2
"""

PADDED = SOURCE + """
cell unit
  port basal @ basal
  receive u = basal
synapse kernel
  message rate
  port basal
  connectivity convolution
population image source 4
population maps unit 4
projection K kernel image -> maps convolution=1x2x2/1x2x2/3,1,1,1
"""

DELAYED = SOURCE + """
cell unit
  port basal @ basal
  state u = -1
  send rate = prev(u)
  receive u = basal
synapse onward
  message rate
  port basal
  connectivity identity
population input source 1
population near unit 1
population far unit 1
projection N onward input -> near
projection F onward input -> far delay=3
"""

RELAY = SOURCE + """
cell pyramidal
  port drive @ soma
  port inhibition @ soma
  state u = 0
  send rate = relu(prev(u))
  receive u = drive - inhibition
  message rate
cell parvalbumin
  port soma @ soma
  receive out = relu(soma)
  message out
synapse drive
  message rate
  port drive
  connectivity identity
synapse excitation
  message rate
  port soma
synapse inhibition
  message out
  port inhibition
population input source 2
population exc pyramidal 2
population pv parvalbumin 1
projection D drive input -> exc
projection E excitation input -> pv
projection I inhibition pv -> exc delay=0
"""

TWO_PASS = SOURCE + """
cell hidden
  port basal @ basal
  port apical @ apical
  receive rate = relu(basal)
  receive delta = d_relu(basal) * apical
  message rate
cell output
  port basal @ basal
  port target @ soma
  receive error = target - basal
  message error
rule hidden_rule
  parameter eta 1 = 0.5
  increment eta * post.delta * pre.rate
rule output_rule
  parameter eta 1 = 0.5
  increment eta * post.error * pre.rate
synapse lower
  message rate
  port basal
  rule hidden_rule
synapse upper
  message rate
  port basal
  rule output_rule
synapse backward
  message error
  port apical
synapse teaching
  message rate
  port target
  connectivity identity
population input source 2
population middle hidden 2
population top output 1
population teacher source 1
projection W lower input -> middle
projection V upper middle -> top delay=0
projection T teaching teacher -> top
projection B backward top -> middle delay=0
mirror B = V : transpose
"""

ELIGIBILITY = SOURCE + """
cell unit
  port basal @ basal
  input reward
  state u = 0
  receive u = basal
  factor rewarded = reward
rule three_factor
  parameter decay 1 = 0.5
  state trace = 1
  update trace = decay * prev(trace) + post.u * pre.rate
  increment post.rewarded * trace - 0.25 * prev(trace)
synapse plastic
  message rate
  port basal
  rule three_factor
population input source 1
population hidden unit 1
projection W plastic input -> hidden
"""

BATCH = """
graph batch
  batch seeds 2 samples 3
""" + SOURCE + """
cell unit
  port basal @ basal
  receive u = basal
rule presynaptic
  increment pre.rate
synapse together
  message rate
  port basal
  rule presynaptic
synapse each_seed
  message rate
  port basal
  rule presynaptic
  role per_seed
synapse each_sample
  message rate
  port basal
  rule presynaptic
  role per_sample
population input source 1
population one unit 1
population two unit 1
population three unit 1
projection A together input -> one
projection B each_seed input -> two
projection C each_sample input -> three
"""

OPTIMISERS = """
graph optimisers
  gate learn
  gate apply
""" + SOURCE + """
cell unit
  port basal @ basal
  receive u = basal
rule summed
  increment pre.rate
  optimiser accumulate()
rule limited
  parameter norm 1 = 2.5
  increment pre.rate
  optimiser clipped(norm)
rule moments
  parameter rate 1 = 0.125
  increment pre.rate
  optimiser adam(rate, 0.5, 0.75, 0)
rule slow
  increment pre.rate
  optimiser low_pass(0.5)
synapse a
  message rate
  port basal
  rule summed
synapse b
  message rate
  port basal
  rule limited
synapse c
  message rate
  port basal
  rule moments
synapse d
  message rate
  port basal
  rule slow
population input source 2
population hidden unit 1
projection A a input -> hidden gate=learn apply=apply
projection B b input -> hidden gate=learn apply=apply
projection C c input -> hidden gate=learn apply=apply
projection D d input -> hidden gate=learn
"""

INTEGER = SOURCE + """
cell integer_unit
  port soma @ soma
  noise dither uniform
  state v = 0 : int8 0.0078125
  state coarse = 0 : int8 1
  receive leaked = prev(v) - shift_right(prev(v), 1)
  receive v = saturate(leaked + shift_left(soma, 2), -128, 127)
  receive coarse = stochastic_round(v / 4, dither)
synapse drive
  message rate
  port soma
population input source 1
population cells integer_unit 1
projection W drive input -> cells
"""

GRAPHS = {
    "spiking": SPIKING, "signed_error": SIGNED_ERROR, "gated": GATED, "blocks": BLOCKS, "limited": LIMITED,
    "mirrored": MIRRORED, "convolution": CONVOLUTION, "padded": PADDED, "delayed": DELAYED, "relay": RELAY,
    "two_pass": TWO_PASS, "eligibility": ELIGIBILITY, "batch": BATCH, "optimisers": OPTIMISERS, "integer": INTEGER}

ARRAYS: dict[str, dict[str, list]] = {
    "spiking": {"W.w": [[0.75]], "V.w": [[1.0]]},
    "signed_error": {"P.w": [1, 1], "B.w": [[1, 0], [0, 2]]},
    "gated": {"B.w": [[1, 10, 100], [2, 20, 200]]},
    "blocks": {"W.w": [[1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]]},
    "limited": {"W.w": [[0.5]], "V.w": [[0.5]], "I.w": [[-0.5]]},
    "mirrored": {"W.w": [[1, 2], [3, 4], [5, 6]], "B.w": np.zeros((2, 3)), "B.offset": [[0.5, 0, 0], [0, 0, 0.25]],
                 "C.w": np.zeros((2, 2)), "D.w": np.zeros((2, 4))},
    "convolution": {"K.w": [[[[1, 2], [3, 4]]], [[[0, 0], [0, -1]]]]},
    "padded": {"K.w": [[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]]},
    "delayed": {},
    "relay": {"E.w": [[1, 0.5]], "I.w": [[1], [2]]},
    "two_pass": {"W.w": [[1, -1], [-1, 1]], "V.w": [[2, 4]], "B.w": [[0], [0]]},
    "eligibility": {"W.w": [[2]]},
    "batch": {"A.w": [[0]], "B.w": [[0]], "C.w": [[0]]},
    "optimisers": {f"{name}.w": [[0, 0]] for name in "ABCD"},
    "integer": {"W.w": [[1]]}}


def built(name: str) -> Graph:
    bound = {key: np.array(array, dtype=np.float64) for key, array in ARRAYS[name].items()}
    return parse_graph(GRAPHS[name]).with_(arrays=bound)


def run(name: str, steps: list[dict], gates: list[dict] | None = None) -> list[dict[str, np.ndarray]]:
    """The values after each step; a step gives inputs and noise by name."""
    interpreter = Interpreter(built(name))
    pairs = zip(steps, gates or [{}] * len(steps), strict=True)
    return [dict(interpreter.step(given, gate, {})) for given, gate in pairs]


def track(rows: list[dict[str, np.ndarray]], quantity: str) -> list:
    """A quantity over the steps, without the batch axis and without axes of length one."""
    return [np.squeeze(row[quantity]).tolist() for row in rows]


@pytest.mark.parametrize("name", GRAPHS)
def test_it_is_valid_and_reads_back(name: str) -> None:
    graph = built(name)
    verify(graph)
    assert parse_graph(show_graph(graph)) == graph


def test_spiking_cells_reset_and_their_spikes_arrive_in_the_next_step() -> None:
    rows = run("spiking", [{"input.value": [1.0]}] * 6)
    assert track(rows, "first.voltage") == [0.75, 1.125, 0.75, 1.125, 0.75, 1.125]
    assert track(rows, "first.spike") == [0, 0, 1, 0, 1, 0]
    assert track(rows, "second.voltage") == [0, 0, 1, 0, 1, 0]
    assert track(rows, "second.spike") == [0, 0, 0, 1, 0, 1]


def test_errors_are_transmitted_with_their_sign() -> None:
    rows = run("signed_error", [{"teacher.value": [0.0, 3.0]}] * 3)
    assert track(rows, "wrong.difference") == [[-1, 2], [-1, 2], [-0.5, 0]]
    assert track(rows, "wrong.error") == [[0, 0], [-1, 2], [-1, 2]]
    assert track(rows, "hidden.u") == [[1, 1], [0.5, 3], [0, 5]]


def test_a_message_is_gated_before_the_matrix() -> None:
    rows = run("gated", [{"input.value": [1.0, 2.0, 3.0], "wrong.activity": [1.0, -1.0, 0.0]},
                         {"input.value": [0.0, 0.0, 0.0], "wrong.activity": [5.0, -1.0, 0.5]}])
    assert track(rows, "wrong.gated") == [[0, 0, 0], [1, 0, 3]]
    assert track(rows, "hidden.feedback") == [[0, 0], [301, 602]]


def test_blocks_join_only_their_areas() -> None:
    rows = run("blocks", [{"areas.value": [1.0, 10.0, 100.0, 1000.0]}])
    assert track(rows, "targets.u") == [[1, 2, 3330]]
    assert track(rows, "W.w") == [[[2, 0, 0, 0], [4, 0, 0, 0], [0, 33303, 333003, 3330003]]]


def test_weights_stay_within_sign_and_limits() -> None:
    rows = run("limited", [{"input.value": [1.0]}] * 3)
    assert track(rows, "W.w") == [1, 1, 1]
    assert track(rows, "V.w") == [0, 0, 0]
    assert track(rows, "I.w") == [0, 0, 0]
    assert track(rows, "up.u") == [0.5, 1, 1]


def test_mirrors_copy_weights_before_the_increment_in_declared_order() -> None:
    rows = run("mirrored", [{}] * 2)
    assert track(rows, "W.w") == [[[2, 3], [4, 5], [6, 7]], [[3, 4], [5, 6], [7, 8]]]
    assert track(rows, "B.w") == [[[-0.5, -3, -5], [-2, -4, -5.75]], [[-1.5, -4, -6], [-3, -5, -6.75]]]
    assert track(rows, "C.w") == [[[1, 3], [2, 4]], [[2, 4], [3, 5]]]
    assert track(rows, "D.w")[0] == [[-0.5, -3, -5, 0], [-2, -4, -5.75, 0]]


def test_a_convolution_pools_and_sums_its_increments_over_positions() -> None:
    image = np.arange(24.0)
    pooled = [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]
    patches = [[pooled[0][x], pooled[0][x + 1], pooled[1][x], pooled[1][x + 1]] for x in (0, 1)]
    kernels = [[1, 2, 3, 4], [0, 0, 0, -1]]
    outputs = [[sum(a * b for a, b in zip(kernel, patch, strict=True)) for patch in patches] for kernel in kernels]
    increments = [[sum(0.25 * out[x] * patches[x][j] - 0.25 * kernel[j] for x in (0, 1)) for j in range(4)]
                  for kernel, out in zip(kernels, outputs, strict=True)]
    row = run("convolution", [{"image.value": image}])[0]
    assert row["maps.u"].tolist() == [[*outputs[0], *outputs[1]]] == [[131, 151, -17.5, -19.5]]
    assert row["K.increment"].reshape(2, 4).tolist() == increments
    assert row["K.w"].reshape(2, 4).tolist() == [[k + i for k, i in zip(*pair, strict=True)]
                                                 for pair in zip(kernels, increments, strict=True)]


def test_a_convolution_is_a_correlation_with_zero_padding() -> None:
    rows = run("padded", [{"image.value": [1.0, 0.0, 0.0, 0.0]}, {"image.value": [0.0, 0.0, 0.0, 1.0]}])
    assert track(rows, "maps.u") == [[5, 4, 2, 1], [9, 8, 6, 5]]


def test_a_delay_of_n_delivers_what_was_sent_n_minus_1_steps_ago() -> None:
    rows = run("delayed", [{"input.value": [float(n)]} for n in (1, 2, 3, 4, 5)])
    assert track(rows, "near.u") == [1, 2, 3, 4, 5]
    assert track(rows, "far.u") == [0, 0, 1, 2, 3]


def test_a_relay_inhibits_within_the_step() -> None:
    rows = run("relay", [{"input.value": [2.0, 4.0]}, {"input.value": [-2.0, 1.0]}])
    assert track(rows, "pv.out") == [4, 0]
    assert track(rows, "exc.u") == [[-2, -4], [-2, 1]]


def test_forward_and_backward_pass_fit_into_one_step() -> None:
    row = run("two_pass", [{"input.value": [3.0, 1.0], "teacher.value": [5.0]}])[0]
    assert row["middle.rate"].tolist() == [[2, 0]] and row["top.error"].tolist() == [[1]]
    assert row["middle.delta"].tolist() == [[0, 0]], "the mirror copies V after the backward pass"
    assert row["V.w"].tolist() == [[[3, 4]]] and row["B.w"].tolist() == [[[2], [4]]]
    rows = run("two_pass", [{"input.value": [3.0, 1.0], "teacher.value": [5.0]}] * 2)
    assert track(rows, "top.error") == [1, -1] and track(rows, "middle.delta") == [[0, 0], [-2, 0]]
    assert track(rows, "W.w")[1] == [[1 - 0.5 * 2 * 3, -1 - 0.5 * 2 * 1], [-1, 1]]


LISTED_LATE = SOURCE + """
cell unit
  port basal @ basal
  state kept = 0
  send shown = doubled
  receive doubled = 2 * kept
  receive kept = basal
  message shown
synapse onward
  message shown
  port basal
  connectivity identity
synapse drive
  message rate
  port basal
  connectivity identity
population input source 1
population first unit 1
population second unit 1
projection D drive input -> first
projection S onward first -> second delay=0
"""


def test_a_message_of_this_step_is_one_in_any_order_of_equations() -> None:
    values = Interpreter(parse_graph(LISTED_LATE)).step({"input.value": np.array([3.0])}, {}, {})
    assert values["second.kept"].item() == 6
    with pytest.raises(CortexError, match="E232 projection 'S' delays message 'shown' of cell 'unit' by 1 steps"):
        verify(parse_graph(LISTED_LATE.replace(" delay=0", "")))


BEFORE_ITS_PORT = """graph sent
cell unit
  input drive
  port basal
  state kept = 0
  receive kept = prev(kept) + drive
  receive other = basal
  send shown = 2 * kept
  message shown
synapse wire
  message shown
  port basal
  connectivity identity
population first unit 1
population second unit 1
projection S wire second -> first
"""


def test_what_is_sent_reads_this_step_where_no_port_is_waited_for() -> None:
    """`kept` waits with what reads the port; `shown`, which reads `kept`, has to wait too."""
    interpreter = Interpreter(parse_graph(BEFORE_ITS_PORT))
    inputs = {"first.drive": np.array([3.0]), "second.drive": np.array([0.0])}
    seen = [interpreter.step(inputs, {}, {})["first.shown"].item() for _ in range(2)]
    assert seen == [6, 12]


def test_a_same_step_cycle_is_refused() -> None:
    text = TWO_PASS.replace("d_relu(basal) * apical", "apical").replace("rate = relu(basal)", "rate = basal + apical")
    with pytest.raises(CortexError, match="E230 same-step cycle through projections V, B"):
        verify(parse_graph(text).with_(arrays=built("two_pass").arrays))


def test_a_synapse_keeps_its_own_state() -> None:
    rewards = (0.0, 1.0, 0.0)
    rows = run("eligibility", [{"input.value": [1.0], "hidden.reward": [r]} for r in rewards])
    assert track(rows, "hidden.u") == [2, 1.75, 4.125]
    assert track(rows, "W.trace") == [2.5, 3.0, 5.625]
    assert track(rows, "W.increment") == [-0.25, 3.0 - 0.25 * 2.5, -0.25 * 3.0]
    assert track(rows, "W.w") == [1.75, 4.125, 3.375]


def test_weights_sum_over_the_part_of_the_batch_that_shares_them() -> None:
    row = run("batch", [{"input.value": [[1.0], [2.0], [4.0], [8.0], [16.0], [32.0]]}])[0]
    assert row["A.w"].ravel().tolist() == [63]
    assert row["B.w"].ravel().tolist() == [7, 56]
    assert row["C.w"].ravel().tolist() == [1, 2, 4, 8, 16, 32]


def test_each_member_of_the_batch_sees_its_own_copy() -> None:
    rows = run("batch", [{"input.value": np.ones((6, 1))}] * 2)
    assert rows[1]["one.u"].ravel().tolist() == [6] * 6
    assert rows[1]["two.u"].ravel().tolist() == [3] * 6
    assert rows[1]["three.u"].ravel().tolist() == [1] * 6


def test_arrays_may_differ_between_seeds() -> None:
    graph = built("batch").with_(arrays={**built("batch").arrays, "B.w": np.array([[[1.0]], [[10.0]]])})
    values = Interpreter(graph).step({"input.value": np.ones((6, 1))}, {}, {})
    assert values["two.u"].ravel().tolist() == [1, 1, 1, 10, 10, 10]


def test_optimisers_wait_for_the_apply_gate() -> None:
    learn = [{"learn": 1.0, "apply": apply} for apply in (0.0, 1.0, 0.0, 1.0)]
    learn[2]["learn"] = 0.0
    rows = run("optimisers", [{"input.value": [3.0, 4.0]}] * 4, learn)
    assert track(rows, "A.w") == [[0, 0], [6, 8], [6, 8], [9, 12]]
    assert track(rows, "A.accumulate") == [[3, 4], [0, 0], [0, 0], [0, 0]]
    assert track(rows, "B.w") == [[0, 0], [1.5, 2.0], [1.5, 2.0], [3.0, 4.0]]
    assert track(rows, "D.w") == [[1.5, 2], [3.75, 5], [3.75, 5], [6.375, 8.5]]


def test_clipping_leaves_short_steps_alone() -> None:
    rows = run("optimisers", [{"input.value": [0.5, 1.0]}], [{"learn": 1.0, "apply": 1.0}])
    assert track(rows, "B.w") == [[0.5, 1.0]]


def test_adam_corrects_the_bias_of_its_moments() -> None:
    gates = [{"learn": 1.0, "apply": 1.0}] * 2
    rows = run("optimisers", [{"input.value": [3.0, -4.0]}, {"input.value": [1.0, 0.0]}], gates)
    first = (0.5 * 0.5 * 3 + 0.5 * 1) / (1 - 0.5 ** 2)
    second = (0.75 * 0.25 * 9 + 0.25 * 1) / (1 - 0.75 ** 2)
    assert track(rows, "C.w")[0] == [0.125, -0.125]
    np.testing.assert_allclose(track(rows, "C.w")[1][0], 0.125 + 0.125 * first / math.sqrt(second), rtol=1e-15)


def test_integers_shift_saturate_and_round_stochastically() -> None:
    given = [{"input.value": [value], "cells.dither": [dither]} for value, dither in
             ((5.0, 0.0), (30.0, 0.6), (-60.0, 0.3), (0.0, 0.0), (-1.0, 0.9))]
    rows = run("integer", given)
    assert track(rows, "cells.v") == [20, 127, -128, -64, -36]
    assert track(rows, "cells.leaked") == [0, 10, 64, -64, -32]
    assert track(rows, "cells.coarse") == [5, math.floor(31.75 + 0.6), math.floor(-32 + 0.3), -16, math.floor(-9 + 0.9)]


def test_shifting_right_floors() -> None:
    rows = run("integer", [{"input.value": [value], "cells.dither": [0.0]} for value in (-1.25, 0.0)])
    assert track(rows, "cells.v") == [-5, -2]


STATELESS = """
cell clock
  input end
  send half = 0.5 * end
  send tick = half
  message tick
cell unit
  port p @ soma
  state v = 0
  receive v = p
synapse pulse
  message tick
  port p
population T clock 2
population E unit 2
projection TE pulse T -> E delay={}
"""


@pytest.mark.parametrize("delay", [0, 1])
def test_what_is_made_of_this_steps_input_arrives_in_this_step(delay: int) -> None:
    graph = parse_graph(STATELESS.format(delay)).with_(arrays={"TE.w": np.ones((2, 2))})
    verify(graph)
    interpreter = Interpreter(graph)
    for end, expected in ((1.0, 2.0), 1.5), ((0.0, 4.0), 2.0):
        values = interpreter.step({"T.end": np.array(end)}, {}, {})
        assert np.array_equal(values["E.v"].ravel(), [expected, expected])


@pytest.mark.parametrize("line", ["  state half = 0\n  send half = prev(half)", "  state half = 0\n  send dhalf/dt = end"])
def test_what_comes_from_state_takes_a_step(line: str) -> None:
    text = STATELESS.format(0).replace("  send half = 0.5 * end", line)
    with pytest.raises(CortexError, match="E231 .*'tick' of cell 'clock' is sent from state"):
        verify(parse_graph(text).with_(arrays={"TE.w": np.ones((2, 2))}))
