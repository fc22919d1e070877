"""What a notebook shows of a simulation."""

from __future__ import annotations

import numpy as np
import pytest

import cortexc
from cortexc import CortexError, Network, plots


@pytest.fixture(scope="module")
def found() -> cortexc.Simulation:
    net = Network(dt=0.1)
    net.add("e", 12, "library.lif_exp", bias="normal(600, 20)")
    net.connect("e", "e", name="W", w="uniform(0, 5)", port="excitatory", delay=15)
    net.connect("e", "e", name="B", w="uniform(0, 5)", port="excitatory", delay=15)
    return cortexc.simulate(net, 900, record=["e.spike", "e.v", "W.w", "B.w"])


def test_spikes_are_those_of_the_recording(found) -> None:
    spikes, values = found.spikes("e.spike"), found["e.spike"][:, 0]
    assert np.array_equal(np.stack([spikes.steps, spikes.cells]), np.stack(np.nonzero(values))) and values.sum() > 12
    assert spikes.rates() == pytest.approx(values.sum(axis=0) / 0.09) and spikes.size == 12
    assert found.time[-1] == pytest.approx(90.0) and repr(found).startswith("Simulation of 900 steps: e.spike (900, 1, 12)")


def test_a_raster_has_a_point_per_spike(found) -> None:
    drawn = plots.raster(found, "e.spike").axes[0].lines
    assert sum(len(line.get_xdata()) for line in drawn) == found["e.spike"].sum()


def test_a_sheet_has_the_spikes_of_each_window_where_their_cells_are(found) -> None:
    net = Network(dt=0.1)
    net.add("e", 12, "library.lif_exp", place="grid 4x3 on 4 mm x 3 mm")
    axes = plots.sheet(found, "e.spike", net, frames=3, window=20).axes
    dots = [each.collections[0] for each in axes]
    assert dots[0].get_offsets()[:5].tolist() == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [3.5, 0.5], [0.5, 1.5]]
    values = found["e.spike"][:, 0]
    assert [d.get_array().tolist() for d in dots] == [values[a:a + 200].sum(axis=0).tolist() for a in (300, 500, 700)]
    bare = Network()
    bare.add("e", 12, "library.lif_exp")
    with pytest.raises(CortexError, match="X203 population 'e' of graph 'network' has no places"):
        plots.sheet(found, "e.spike", bare)


def test_traces_are_the_values(found) -> None:
    lines = plots.traces(found, "e.v", "W.w", cells=3).axes[0].lines
    assert len(lines) == 6 and np.array_equal(lines[2].get_ydata(), found["e.v"][:, 0, 2])
    assert np.array_equal(lines[4].get_ydata(), found["W.w"][:, 0, 0, 1])


def test_nothing_recorded_is_drawn_empty() -> None:
    net = Network()
    net.add("e", 2, "library.lif_exp")
    nothing = cortexc.simulate(net, 0, record=["e.v", "e.spike"])
    assert len(plots.traces(nothing, "e.v").axes[0].lines[0].get_xdata()) == 0 and "0 steps" in nothing._repr_html_()
    with pytest.raises(CortexError, match="X203 element is 1; 'e.spike' has elements 0 to 0"):
        nothing.spikes("e.spike", 1)


def test_weights_and_angles(found) -> None:
    assert np.array_equal(plots.weights(found, "W.w").axes[0].images[0].get_array(), found["W.w"][-1, 0])
    (line,) = plots.angles(found, "B.w", "W.w").axes[0].lines
    w, b = found["W.w"][-1, 0], found["B.w"][-1, 0]
    cosine = (b * w.T).sum() / np.sqrt((b**2).sum() * (w**2).sum())
    assert line.get_ydata()[-1] == pytest.approx(np.degrees(np.arccos(cosine)))


def test_a_notebook_shows_pictures(found) -> None:
    assert found._repr_html_().count("data:image/png") == 4
    net = Network()
    net.input("x", 2)
    assert ">x</text>" in (shown := plots.circuit(net)._repr_html_()) and ">2 cells</text>" in shown
    assert net._repr_html_() == net.graph._repr_html_() == shown


@pytest.mark.parametrize(("call", "code"), [
    (lambda f: plots.raster(f, "e.spke"), "X151"), (lambda f: plots.traces(f, "x.v"), "X151"),
    (lambda f: plots.weights(f, "e.v"), "X203"), (lambda f: plots.angles(f, "W.w", "e.v"), "X203"),
    (lambda f: cortexc.Simulation({"a.spike": np.zeros((2, 1, 3))}, np.array([5, 10]), {}).spikes("a.spike"), "X208")])
def test_what_cannot_be_drawn_has_a_code(found, call, code) -> None:
    with pytest.raises(CortexError, match=code):
        call(found)
