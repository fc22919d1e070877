"""Small circuits that lowering once got wrong, each beside the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.backends.lowering import lower
from compiler.backends.runtime import Feed, NoiseSpec
from compiler.ir import CortexError, parse_graph, problems
from compiler.ir.protocol import Phase, Protocol
from compiler.verify import Setup, verify_setup
from compiler.verify.mutations import plain_python

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


@pytest.mark.parametrize("operations, works", [("add:x transpose negate", True), ("negate add:x transpose", True),
                                               ("transpose add:x truncate", True), ("add:x add:x", False)])
def test_mirrors_that_add(operations, works):
    two = "population out leaky 2\nprojection W dense input -> out\nprojection V dense input -> out\n"
    x = np.array([[0.1, 0.2], [0.3, 0.4]])
    case = setup(two + f"mirror V = W : {operations}\n", W__w=np.array([[1.0, 2.0], [3.0, 4.0]]), V__w=np.zeros((2, 2)))
    case = Setup(case.graph.with_(arrays={**case.graph.arrays, "x": x}), case.protocol, case.samples)
    if works:
        agrees(case)
    else:
        with pytest.raises(CortexError, match="E504 mirror 'V' of 'W' uses more than one array"):
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
