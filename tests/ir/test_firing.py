"""Thresholds, resets, refractory times, jumps, and noise with arguments: what they become, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import CortexError, Graph, parse_graph, show_graph, verify

CELL = """cell c
  input drive
  state v = 0
  receive v = prev(v) + drive
"""


def made(*lines: str, cell: str = CELL, size: int = 1, dt: str = "0.5") -> Graph:
    body = "".join(f"  {line}\n" for line in lines)
    return parse_graph(f"graph g\n  dt {dt}\n{cell}{body}population a c {size}\n")


def run(graph: Graph, drive: float | list[float], *names: str, steps: int = 8) -> list[list[float]]:
    found = simulate(graph, steps, inputs={"a.drive": np.reshape(drive, (-1, 1)) if isinstance(drive, list) else drive},
                     record=[f"a.{name}" for name in names], backend="interpreter")
    return [found[f"a.{name}"].ravel().tolist() for name in names]


def test_a_spike_is_seen_in_the_step_in_which_the_threshold_is_reached_and_so_is_the_reset() -> None:
    v, spike = run(made("spike when v >= 3", "reset v = 0.5"), 1.0, "v", "spike")
    assert v == [1.0, 2.0, 0.5, 1.5, 2.5, 0.5, 1.5, 2.5] and spike == [0, 0, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("hold, dt, steps", [
    ("2 steps", "0.5", 2), ("1 ms", "0.5", 2), ("1.2 ms", "0.5", 2), ("1.3 ms", "0.5", 3), ("0 ms", "0.5", 0), ("0.3 ms", "0.1", 3)])
def test_hold_lasts_for_the_nearest_number_of_steps(hold: str, dt: str, steps: int) -> None:
    v, spike = run(made("spike when v >= 1", "reset v = 0.25", f"hold {hold}", dt=dt), 1.0, "v", "spike", steps=6)
    assert v[:2 + steps] == [0.25] * (1 + steps) + [0.25] and spike[:2 + steps] == [1] + [0] * steps + [1]


def test_what_is_held_stays_as_it_was_reset_and_does_not_spike_whatever_the_threshold() -> None:
    v, spike = run(made("spike when v >= 1", "reset v = 7", "hold 2 steps"), 1.0, "v", "spike")
    assert v == [7.0] * 8 and spike == [1, 0, 0, 1, 0, 0, 1, 0]


def test_resets_read_what_was_before_the_reset() -> None:
    graph = made("state u = 0", "receive u = prev(u) + 1", "spike when v >= 3", "reset v = v - 3 + u", "reset u = v * 10")
    assert run(graph, 1.0, "v", "u", steps=4) == [[1.0, 2.0, 3.0, 4.0 - 3 + 31], [1.0, 2.0, 30.0, 40.0]]


def test_other_states_are_held_where_they_are_named() -> None:
    lines = ("state u = 0", "receive u = prev(u) + 1", "spike when v >= 2", "reset v = 0")
    assert run(made(*lines, "hold 2 steps"), 1.0, "u", steps=5)[0] == [1, 2, 3, 4, 5]
    assert run(made(*lines, "hold 2 steps v u"), 1.0, "v", "u", steps=6) == [[1, 0, 0, 0, 1, 0], [1, 2, 2, 2, 3, 4]]


def test_a_jump_comes_after_the_equation_before_the_threshold_and_is_lost_while_held() -> None:
    graph = made("jump v = v + 10 * (drive > 1)", "spike when v >= 5", "reset v = 0", "hold 2 steps")
    assert run(graph, [1, 2, 2, 2, 1], "v", "spike", steps=5) == [[1, 0, 0, 0, 1], [0, 1, 0, 0, 0]]
    assert run(made("jump v = 2 * v"), 1.0, "v", steps=3) == [[2.0, 6.0, 14.0]]


def test_derivatives_go_on_from_what_the_reset_left_and_read_each_other() -> None:
    cell = "cell c\n  input drive\n  state v = 0\n  state u = 0\n  receive dv/dt = drive - u\n  receive du/dt = v\n"
    graph = made("spike when v >= 1", "reset v = 0.5", "reset u = u + 0.25", cell=cell, dt="1")
    assert run(graph, 1.0, "v", "u", "spike", steps=3) == [[0.5, 0.5, 0.5], [0.25, 1.0, 1.5], [1, 1, 0]]


def test_other_equations_and_other_cells_see_what_is_after_the_reset() -> None:
    graph = made("factor seen = v", "send before = prev(v)", "spike when v >= 2", "reset v = -1")
    assert run(graph, 1.0, "seen", "before", steps=4) == [[1, -1, 0, 1], [0, 1, -1, 0]]


def test_a_spike_needs_no_reset() -> None:
    assert run(made("spike when prev(v) < 3 <= v"), 1.0, "spike", steps=5)[0] == [0, 0, 1, 0, 0]


def test_names_of_ours_never_meet_those_of_a_user() -> None:
    cell = CELL + "  state v_free = 5\n  receive v_free = prev(v_free)\n  state refractory = 2\n  send refractory = prev(refractory)\n"
    graph = made("spike when v >= 1", "reset v = 0", "hold 2 steps", cell=cell)
    verify(graph)
    assert run(graph, 1.0, "v_free", "refractory", "refractory_", steps=3) == [[5, 5, 5], [2, 2, 2], [2, 1, 0]]


def test_the_message_spike_is_sent_and_need_not_be_declared() -> None:
    for lines in ((), ("message spike", "state spike = 0")):
        graph = made("spike when v >= 1", *lines)
        assert graph.cells[0].messages == graph.cells[0].late == ("spike",) and [s.name for s in graph.cells[0].states].count("spike") == 1
        assert parse_graph(show_graph(graph)) == graph


def test_a_cell_that_spikes_without_ports_does_so_among_its_send_equations() -> None:
    cell = CELL.replace("receive", "send")
    stages = {e.name: e.stage for e in made("spike when v >= 1", "reset v = 0", "hold 1 steps", cell=cell).cells[0].equations}
    assert set(stages.values()) == {"send"}


@pytest.mark.parametrize("code, lines, says", [
    ("E247", ("reset v = 0",), "says 'reset', but not when it spikes"), ("E247", ("hold 2 ms",), "says 'hold'"),
    ("E247", ("spike when v > 1", "hold 2 ms"), "names no state to hold"),
    ("E247", ("spike when v > 1", "send spike = 1"), "defines 'spike' itself too"),
    ("E247", ("spike when v > 1", "parameter spike = 1"), "defines 'spike' itself too"),
    ("E248", ("jump x = 1",), "state in 'jump' of cell 'c' 'x'; known: v"),
    ("E248", ("spike when v > 1", "reset drive = 0"), "state in 'reset'"),
    ("E248", ("spike when v > 1", "reset v = 0", "hold 1 ms v u"), "state in 'hold' of cell 'c' 'u'"),
    ("E248", ("state u = 0", "factor u = 1", "jump u = 1"), "state in 'jump'"),
    ("E105", ("jump v = 1", "jump v = 2"), "'jump v' is said twice"), ("E105", ("spike when v > 1",) * 2, "'spike' is said twice")])
def test_misuse_is_refused_with_the_line(code: str, lines: tuple[str, ...], says: str) -> None:
    with pytest.raises(CortexError, match=f"{code} line [0-9]*: .*{says}"):
        made(*lines)


def test_noise_with_arguments_is_drawn_from_its_stream() -> None:
    graph = made("noise n normal", "noise g gaussian(3, 2)", "noise u uniform(1, 4)", "noise k poisson(1 + drive)", size=4000)
    assert graph.cells[0].noise == (("n", "normal"), ("g_drawn", "normal"), ("u_drawn", "uniform"), ("k_drawn", "uniform"))
    found = simulate(graph, 1, inputs={"a.drive": 2.0}, record=[f"a.{name}" for name in "nguk"])
    n, g, u, k = (found[f"a.{name}"].ravel() for name in "nguk")
    assert abs(g.mean() - 3) < 0.2 and abs(g.std() - 2) < 0.1 and u.min() >= 1 and u.max() < 4 and abs(u.mean() - 2.5) < 0.1
    assert abs(k.mean() - 3) < 0.1 and abs(k.var() - 3) < 0.3 and (k == np.floor(k)).all() and abs(n.mean()) < 0.1


def test_noise_of_a_cell_keeps_its_stream_where_another_gets_arguments() -> None:
    plain, shaped = (simulate(made(f"noise first {kind}", "noise second", size=50), 20, record="a.second")["a.second"]
                     for kind in ("normal", "normal(0, 3)"))
    assert np.array_equal(plain, shaped)


@pytest.mark.parametrize("cell", ["receive v = prev(v) + drive", "send v = prev(v) + drive", "receive v = prev(v) + drive + p"])
@pytest.mark.parametrize("delay", [1, 3])
def test_a_spike_arrives_so_many_steps_later_whatever_it_depends_on(cell: str, delay: int) -> None:
    text = f"graph g\n  dt 1\ncell c\n  input drive\n  port p\n  state v = 0\n  {cell}\n  spike when v >= 2\n  reset v = 0\n" \
           "cell d\n  port p\n  receive seen = p\nsynapse s\n  message spike\n  port p\n  connectivity one_to_one\n" \
           f"population a c 1\npopulation b d 1\nprojection W s a -> b delay={delay}\n"
    graph = parse_graph(text).with_(arrays={"W.w": np.array([0.5])})
    for backend in ("interpreter", "native"):
        run = simulate(graph, 7, inputs={"a.drive": [[1.0]] * 3 + [[0.0]] * 4}, record=["a.spike", "b.seen"], backend=backend)
        assert np.flatnonzero(run["a.spike"].ravel()).tolist() == [1]
        assert run["b.seen"].ravel().tolist() == [0.0] * (1 + delay) + [0.5] + [0.0] * (5 - delay)
