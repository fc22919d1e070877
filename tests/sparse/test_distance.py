"""Synapses by distance: against NEST and closed forms, on every backend, in text, for chips, and what is refused."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sparse_circuits import graph_of, outcomes

import cortexc as cx
from cortexc.compiler.ir import CortexError, Graph, drawing, parse_graph, problems, show_graph
from cortexc.compiler.ir.places import Apart, Layout, Places
from cortexc.compiler.ir.synapses import most_delay, synapses_of, with_drawn
from cortexc.compiler.ir.wiring import Kernel, Numbers, Wiring
from cortexc.compiler.mapping.connectivity import connectivity_of

NEST = np.load(Path(__file__).parent / "recordings" / "nest_spatial.npz")
KERNELS = {"gaussian_wrapped": (0.8, Kernel("gaussian", (0.1,))), "gaussian": (0.8, Kernel("gaussian", (0.1,))),
           "exponential": (1.0, Kernel("exponential", (0.1,))), "linear_wrapped": (1.0, Kernel("linear", (0.2,))),
           "box": (0.5, Kernel("box", (0.21,)))}


def sheet(name: str) -> tuple[Wiring, Apart]:
    """As tests/sparse/record_nest_spatial.py makes it."""
    peak, kernel = KERNELS[name]
    cells = Places(Layout("grid", (1.0, 1.0), "mm", (40, 40), name.endswith("wrapped")), "E", 1600)
    return Wiring("distance", peak, kernel=kernel), Apart(cells, cells)


def drawn(wiring: Wiring, apart: Apart, recurrent: bool = True) -> tuple[np.ndarray, np.ndarray]:
    starts, post = drawing.draw(wiring, "W", apart.pre.size, apart.post.size, recurrent, apart)
    return np.repeat(np.arange(apart.pre.size), np.diff(starts)), post


def all_pairs(wiring: Wiring, apart: Apart) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities, distances), both (n_post, n_pre), of cells that are no partners of their own."""
    cells = np.arange(apart.pre.size)
    found = drawing.probabilities(wiring, apart, cells, cells[:, None])
    np.fill_diagonal(found, 0.0)
    return found, apart.between(cells, cells[:, None])


@pytest.mark.parametrize("name", KERNELS)
def test_distances_and_indegrees_are_those_of_nest(name):
    """The mean of 4 networks, and of 20 of NEST: every bin of distance within 4.5 standard deviations of its closed
    form and of each other; in-degrees within the Kolmogorov-Smirnov limit of one in a thousand."""
    wiring, apart = sheet(name)
    of_pairs, distances = all_pairs(wiring, apart)
    mean, variance = (np.histogram(distances, NEST["bins"], weights=w)[0] for w in (of_pairs, of_pairs * (1 - of_pairs)))
    ours, degrees = np.zeros(len(mean)), np.zeros(400)
    for seed in range(4):
        pre, post = drawn(replace(wiring, seed=seed), apart)
        ours += np.histogram(apart.between(pre, post), NEST["bins"])[0] / 4
        degrees += np.bincount(np.bincount(post, minlength=1600), minlength=400) / 4
    theirs, many = NEST[f"{name}.distance"].mean(axis=0), variance > 10
    assert many.sum() >= 8 and (ours[variance == 0] == mean[variance == 0]).all()
    for one, other, spread in ((ours, mean, 1 / 4), (theirs, mean, 1 / 20), (ours, theirs, 1 / 4 + 1 / 20)):
        assert np.abs((one - other)[many] / np.sqrt(spread * variance[many])).max() < 4.5
    apart_most = np.abs(np.cumsum(degrees - NEST[f"{name}.indegree"] / 20)).max() / 1600
    assert apart_most < 1.95 * np.sqrt((1 / 4 + 1 / 20) / 1600)


@pytest.mark.parametrize("name", KERNELS)
def test_delays_over_a_distance_are_those_of_nest(name):
    distances = NEST[f"{name}.delay_of"]
    numbers = Numbers("constant", (0.5,), "ms", 0.3, "mm/ms")
    steps = drawing.delays(numbers, 0, "W", len(distances), 0.1, lambda part: distances[part])
    exact, theirs = (0.5 + distances / 0.3) / 0.1, np.round(NEST[f"{name}.delay"] / 0.1)
    between = np.abs(exact % 1 - 0.5) < 1e-6
    assert (steps == theirs)[~between].all() and (np.abs(steps - theirs) <= 1).all()
    assert between.sum() < len(exact) / 5 and len(set(steps)) > 5


@pytest.mark.parametrize("wrapped", [False, True])
def test_every_pair_is_drawn_by_itself(wrapped):
    """200 networks from one population to another: each pair as often as its probability says, 5 standard deviations."""
    apart = Apart(Places(Layout("random", (1.0, 2.0), "mm", (), wrapped, 3), "A", 150),
                  Places(Layout("random", (1.0, 2.0), "mm", (), wrapped, 3), "B", 70))
    wiring, counts = Wiring("distance", 0.7, kernel=Kernel("gaussian", (0.3, 0.8))), np.zeros((70, 150))
    for seed in range(200):
        pre, post = drawn(replace(wiring, seed=seed), apart, False)
        assert (np.diff(pre * 70 + post) > 0).all()
        counts[post, pre] += 1
    p = drawing.probabilities(wiring, apart, np.arange(150), np.arange(70)[:, None])
    assert (counts[p == 0] == 0).all() and (p == 0).any()
    likely = 200 * p * (1 - p) > 3
    assert np.abs((counts - 200 * p) / np.sqrt(200 * p * (1 - p) + 1e-9))[likely].max() < 5


def test_tiles_hold_every_cell_once_and_neighbours_together():
    places = Places(Layout("random", (1.0, 1.0, 1.0)), "A", 1000)
    tiles = places.tiles(64)
    assert sorted(np.concatenate(tiles)) == list(range(1000)) and max(map(len, tiles)) <= 64
    assert max(np.ptp(places.cells[tile], axis=0).max() for tile in tiles) < 0.7


LAYOUTS = {"line on 8 mm": [[0.5], [1.5]], "ring on 8 mm": [[0.5], [1.5]], "grid 4x2 on 8 mm x 1 mm": [[1, 0.25], [3, 0.25]],
           "grid 2x2x2 on 1 mm x 1 mm x 4 mm": [[0.25, 0.25, 1], [0.75, 0.25, 1]]}


@pytest.mark.parametrize(("layout", "first"), LAYOUTS.items())
def test_cells_stand_in_the_middle_of_equal_parts(layout, first):
    place = parse_graph(f"population C c 8\n  place {layout}\n").populations[0].place
    assert Places(place, "C", 8).cells[:2].tolist() == first
    around = Apart(Places(place, "C", 8), Places(place, "C", 8)).between(0, 7)
    assert around == {"line": 7, "ring": 1}.get(place.kind, around)


def placed(extra: str = "", kernel: str = "0.9 gaussian(1 mm, 2 mm) seed=7") -> Graph:
    """8 cells on a ring, 6 in given places in it; W by a rule over lists, whose delays hang on distance too."""
    text = show_graph(graph_of()).replace("population I source 6 area=low\n", """population I source 6 area=low
  place given on 4 mm wrapped
""").replace("population C spiking 8 area=high\n", """population C spiking 8 area=high
  place ring on 4 mm
""").replace("I -> C\n", """I -> C
  connect fixed_indegree 3 seed=2
  w = uniform(0, 0.5)
  delay = normal(0.2 ms, 0.1 ms) + distance / (5 mm/ms)
""").replace("gate=learn\noutput", f"""gate=learn
  connect distance {kernel}
  w = normal(0.3, 0.5)
  delay = 0.1 ms + distance / (3 m/s)
{extra}output""")
    return parse_graph(text).with_(arrays={"I.x": np.array([0, 0.5, 1, 2, 3.5, 4.0])})


def test_the_text_reads_back():
    graph = placed()
    assert problems(graph) == [] and show_graph(parse_graph(show_graph(graph))) == show_graph(graph)
    for line in ("delay = 1 ms + distance / (0.3 mm/ms)", "delay = distance / (0.3)", "connect distance 1 box(2)",
                 "delay = normal(1 ms, 2 ms) + distance / (1 um/ms)", "connect distance 1 linear(1 mm) seed=3 autapses"):
        text = f"projection W k A -> B\n  {line}\n"
        assert show_graph(parse_graph(text)).endswith(text)
    for line in ("place grid 2x3x4 on 1 x 2 x 3", "place random on 1 um x 2 um wrapped seed=3", "place ring on 360 deg"):
        text = f"population A c 24\n  {line}\n"
        assert show_graph(parse_graph(text)).endswith(text)
    found = parse_graph("population A c 1\n  place = 3\n").populations[0]
    assert found.place is None and found.parameters == (("place", 3.0),)


def test_every_backend_and_granularity_draws_the_same():
    assert outcomes(placed(), "native", "network", "population", "area") == [("equal", [])] * 3


@pytest.mark.lava
def test_lava_draws_the_same():
    assert outcomes(placed(), "lava", "area") == [("equal", [])]


def test_delays_grow_with_distance_and_are_known_before():
    graph = placed()
    found = synapses_of(graph, graph.projection("R"))
    apart = Apart(*2 * (Places(graph.population("C").place, "C", 8),))
    wanted = np.maximum(np.floor((0.1 + apart.between(found.pre, found.post) / 3) / 0.1 + 0.5), 1)
    assert (found.delay == wanted).all() and most_delay(graph, graph.projection("R")) >= found.slots > 5
    assert (found.delay == synapses_of(with_drawn(graph), graph.projection("R")).delay).all()
    assert len(set(synapses_of(graph, graph.projection("W")).late)) > 3


def test_a_large_sheet_is_drawn_from_neighbours_alone():
    """10**8 pairs, of which 1 in 1000 is joined; a block of them all would take 20 MB a number."""
    cells = Places(Layout("grid", (1.0, 1.0), "mm", (100, 100), True), "E", 10_000)
    wiring, apart = Wiring("distance", 1.0, kernel=Kernel("gaussian", (0.0126,))), Apart(cells, cells)
    tracemalloc.start()
    pre, post = drawn(wiring, apart)
    assert tracemalloc.get_traced_memory()[1] < 15e6
    tracemalloc.stop()
    assert len(pre) == pytest.approx(drawing.expected_count(wiring, 10_000, 10_000, True, apart), rel=0.01)
    assert len(pre) == pytest.approx(10_000 * (2 * np.pi * 0.0126 ** 2 * 10_000 - 1), rel=0.01)


# ---- chips


def test_a_mapping_expects_what_is_drawn():
    wiring, apart = sheet("gaussian")
    graph = placed().with_(populations=tuple(replace(p, size=1600, place=apart.pre.layout) if p.name == "C" else p
                                             for p in placed().populations),
                           projections=(replace(placed().projection("R"), wiring=wiring),))
    found, (p, _) = connectivity_of(graph, graph.projection("R")), all_pairs(wiring, apart)
    assert found.synapses == pytest.approx(p.sum(), rel=0.01)
    assert found.counts(200, 600).sum() == pytest.approx(p[200:600].sum(), rel=0.03)
    near, far = found.counts(0, 200)[:200].sum(), found.counts(0, 200)[800:1000].sum()
    assert near == pytest.approx(p[:200, :200].sum(), rel=0.05) and far < 0.01 * near


# ---- what is refused

WRONG = {
    "distance 0.5": "E259", "distance gaussian()": "E259", "distance 2 gaussian(1 mm)": "E259",
    "distance box(1 mm, 2 mm)": "E259", "distance gaussian(1 mm) multapses": "E259", "distance hat(1 mm)": "E204",
    "distance box(0.4 mm)": "E259", "distance gaussian(-1 mm)": "E235", "distance gaussian(1 ms)": "E267",
    "distance gaussian(500 um)": "E267", "fixed_indegree 3 gaussian(1 mm)": "E259", "distance": "E104",
    "distance gaussian(1 mm, 2 um)": "E102"}


def code(graph: Graph | str) -> str:
    try:
        graph = parse_graph(graph).with_(arrays=placed().arrays) if isinstance(graph, str) else graph
        return problems(graph)[0].code
    except CortexError as error:
        return error.code


@pytest.mark.parametrize(("line", "wanted"), WRONG.items())
def test_wrong_kernels_are_refused(line, wanted):
    assert code(show_graph(placed()).replace("distance 0.9 gaussian(1 mm, 2 mm) seed=7", line)) == wanted


WRONG_TEXTS = {
    ("place ring on 4 mm", "place ring on 4 um"): "E267", ("place ring on 4 mm", "place ring on 5 mm"): "E281",
    ("place ring on 4 mm", "place line on 4 mm"): "E281", ("  place ring on 4 mm\n", ""): "E281",
    ("place ring on 4 mm", "place ring on 4 mm x 4 mm"): "E280", ("place ring on 4 mm", "place ring 8 on 4 mm"): "E102",
    ("place ring on 4 mm", "place grid 3x3 on 4 mm x 4 mm wrapped"): "E280",
    ("place ring on 4 mm", "place grid 8 on 4 mm x 4 mm wrapped"): "E280",
    ("place ring on 4 mm", "place grid 2x4 on 4 mm x 4 mm wrapped"): "E281",
    ("place ring on 4 mm", "place spiral on 4 mm"): "E204", ("place ring on 4 mm", "place ring on 0 mm"): "E235",
    ("place given on 4 mm wrapped", "place given on 3 mm wrapped"): "E280",
    ("place given on 4 mm wrapped", "place given on 4 mm x 4 mm wrapped"): "E243",
    ("(3 m/s)", "(0.001 m/s)"): "E258", ("(3 m/s)", "(3 m/ms)"): "E267", ("(3 m/s)", "(3 mV)"): "E267",
    ("0.1 ms + distance", "-0.1 ms + distance"): "E258", ("0.1 ms + distance", "1 mm + distance"): "E259",
    ("state v = 0", "state x = 0"): "E2"}


@pytest.mark.parametrize(("change", "wanted"), WRONG_TEXTS.items())
def test_wrong_places_and_delays_are_refused(change, wanted):
    assert change[0] in show_graph(placed())
    assert code(show_graph(placed()).replace(*change)).startswith(wanted)


def test_arrays_of_places_fit():
    graph = placed()
    for array, wanted in ((np.zeros(5), "E241"), (np.full(6, np.nan), "E280"), (np.full(6, -0.1), "E280")):
        assert code(graph.with_(arrays={"I.x": array})) == wanted
    stateful = graph.with_(cells=tuple(replace(c, states=tuple(replace(s, name="x") for s in c.states)) if c.name ==
                                       "source" else c for c in graph.cells))
    assert "E212" in {p.code for p in problems(stateful)}


# ---- Python


def test_in_python_a_sheet_is_five_lines():
    net = cx.Network(dt=0.1)
    net.add("E", 16, "library.lif_delta", place="grid 4x4 on 1 mm x 1 mm wrapped")
    net.add("I", 4, "lif_delta", place="given on 1 mm x 1 mm wrapped", x=[0, 0, 0.5, 0.5], y=[0, 0.5, 0, 0.5])
    net.connect("E", "I", distance="box(0.2 mm)", w=2.0, delay="distance / (0.3 mm/ms)")
    net.connect("I", "E", distance="gaussian(0.4 mm)", p=0.5, seed=4, w=-1.0)
    assert "connect distance 0.5 gaussian(0.4 mm) seed=4" in net.text
    assert len(synapses_of(net.graph, net.graph.projection("E_I")).post) == 4 * 4
    with pytest.raises(CortexError, match="B105"):
        net.connect("E", "E", distance="box(0.4 mm)", indegree=3, w=1.0)


