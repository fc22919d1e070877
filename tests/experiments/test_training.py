"""Circuits taught by arrays in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortexc as cx
from cortexc import CortexError

X = np.random.default_rng(0).uniform(0, 1, (90, 3))
Y = np.array(["left", "middle", "right"])[X.argmax(axis=1)]
TAUGHT = {"output": "out.u", "steps": 4, "readout": [3], "schedule": {"learn": {"at": [-1]}}}


@pytest.fixture
def net() -> cx.Network:
    """A delta rule."""
    found = cx.Network(dt=1.0)
    found.cell("reader", "port drive; port teaching; state u = 0; factor error = teaching - drive; message u; receive u = drive")
    found.input("x", 3)
    found.input("label", 3)
    found.add("out", 3, "reader")
    found.connect("x", "out", name="W", port="drive", w=0.0, rule="increment 0.1 * post.error * pre.rate", gate="learn")
    found.connect("label", "out", port="teaching", connectivity="one_to_one", w=1.0)
    return found


def test_a_delta_rule_learns_and_predicts_what_was_tested(net: cx.Network) -> None:
    logged: list[Any] = []
    found = cx.train(net, X, Y, epochs=6, log=lambda epoch, values: logged.append((epoch, values["accuracy"])), **TAUGHT)
    assert logged == list(enumerate(found.accuracy, 1)) and len(found.accuracy) == 6 and found.accuracy[-1] > 0.8
    test, classes = found.samples["test_x"], found.classes
    assert len(test) == 18 and list(classes) == ["left", "middle", "right"]
    assert found.score(test, classes[found.samples["test_y"]]) == found.accuracy[-1] and found.score(X, Y) > 0.8
    assert np.allclose(found.scores(test), test @ found.weights["W.w"].T, rtol=1e-12)
    assert "6 epochs on 72 samples" in repr(found) and "<img" in found._repr_html_()
    same = cx.train(net, X, Y, epochs=6, **TAUGHT)
    assert np.array_equal(same.weights["W.w"], found.weights["W.w"])
    assert not np.array_equal(cx.train(net, X, Y, epochs=6, seed=1, **TAUGHT).weights["W.w"], found.weights["W.w"])


def test_without_its_rule_it_learns_nothing(net: cx.Network) -> None:
    found = cx.train(net, X, Y, epochs=2, **{**TAUGHT, "schedule": {}, "train_gates": []})
    assert not found.weights["W.w"].any() and found.accuracy == (found.accuracy[0],) * 2 and found.accuracy[0] < 0.5


@pytest.mark.parametrize("shown", [8, 13])
def test_scores_of_minibatches_are_those_of_their_samples(net: cx.Network, shown: int) -> None:
    found = cx.train(net, X, Y, epochs=2, minibatch=8, **{**TAUGHT, "readout": [1, 3]})
    linear = X @ found.weights["W.w"].T
    assert np.allclose(found.scores(X[:shown]), linear[:shown], rtol=1e-12)
    assert found.score(X, Y) == np.mean(found.classes[linear.argmax(axis=1)] == Y)


@pytest.mark.parametrize(("samples", "labels"), [
    (X[:, :2], Y), ([[1.0, 2.0], [1.0]], Y), (X + 1j, Y), (np.ma.masked_less(X, 0.5), Y), (X, Y[:5]), (X, Y[:, None])])
def test_what_cannot_be_scored(net: cx.Network, samples: Any, labels: Any) -> None:
    found = cx.train(net, X, Y, epochs=1, **TAUGHT)
    with pytest.raises(CortexError, match="X203"):
        found.score(samples, labels)


def test_an_experiment_brings_its_protocol() -> None:
    experiment = cx.load("pal_digits", {"model.layers": [3, 4, 3], "protocol.presentation_steps": 10})
    found = cx.train(experiment, X[:30], Y[:30], epochs=1)
    assert found.weights["WPP_0.w"].shape == (4, 3) and set(found.predict(X[:5])) <= set(Y)


@pytest.mark.parametrize(("samples", "labels", "options", "code"), [
    (X[0], Y, {}, "X203 X"), (X, Y[:5], {}, "X203 y"), (X, X[:, 0], {}, "X203 y"), (X, Y, {"held_out": 0}, "X203 held_out"),
    (X * np.nan, Y, {}, "X204 .*X"), ([[1.0], [1.0, 2.0]], Y, {}, "X203 .*X"), (X, [[1], [1, 2]], {}, "X203 y"),
    (X, [None] * 90, {}, "X203 y"), (X, Y, {"held_out": "a"}, "X203 held_out"), (X, Y, {"target": 1}, "X203 .*target"),
    (X, Y, {"seed": -1}, "X203 seed"), (X[:, :2], Y, {}, "X120"), (X, Y, {"output": "out.none"}, "X151"), (X, Y, {"hurry": 1}, "X103")])
def test_what_cannot_be_taught(net: cx.Network, samples: Any, labels: Any, options: dict[str, Any], code: str) -> None:
    with pytest.raises(CortexError, match=code):
        cx.train(net, samples, labels, epochs=1, **{**TAUGHT, **options})


def test_recordings_become_a_dataset(net: cx.Network) -> None:
    pytest.importorskip("xarray")
    found = cx.simulate(net, 6, record=["out.u", "W.w"], seed=[4, 7], every=2)
    table = found.to_xarray()
    assert dict(table.sizes) == {"seed": 2, "time": 3, "cell_out": 3, "post_W": 3, "pre_W": 3}
    assert list(table.seed) == [4, 7] and list(table.time) == [2.0, 4.0, 6.0]
    assert np.array_equal(table["out.u"].sel(seed=7).values, found["out.u"][:, 1])
    assert np.array_equal(table["W.w"].isel(seed=1, time=-1).values, found["W.w"][-1, 1])


def test_lists_of_synapses_and_samples_become_datasets(net: cx.Network) -> None:
    pytest.importorskip("xarray")
    net.connect("x", "out", name="L", port="drive", arrays={"pre": [0, 1, 2, 0], "post": [0, 0, 1, 1]}, w=1.0)
    table = cx.simulate(net.graph.with_(samples=2), 5, record=["out.u", "L.w", "L.current", "W.w", "W.current"]).to_xarray()
    assert dict(table.sizes) == {"element": 2, "time": 5, "cell_out": 3, "seed": 1, "cell_L": 4, "post_L": 3, "post_W": 3, "pre_W": 3}


def test_without_xarray_it_is_said(net: cx.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xarray", None)
    with pytest.raises(CortexError, match="X216"):
        cx.simulate(net, 1, record=["out.u"]).to_xarray()


SCRIPT = """import numpy as np
import numpy.typing as npt
import cortexc as cx

net = cx.Network(dt=1.0)
found = cx.simulate(net, 3, inputs={"x.value": np.zeros(3)}, record=["out.u"])
values: npt.NDArray[np.float64] = found["out.u"]
trained: cx.Trained = cx.train(net, values[0], ["a"], epochs=2)
accuracy: float = trained.accuracy[-1]
with cx.Session(cx.load("pal_digits")) as session:
    position: int = session.step(3)
    session.set("W.w", session.get("W.w"))
"""


@pytest.mark.slow
def test_types_reach_the_user(tmp_path: Any) -> None:
    from pathlib import Path

    from mypy import api

    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "wrong.py").write_text(SCRIPT + "wrong: str = found['out.u']\ncx.simulate(3)\n")
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nmypy_path = {Path(cx.__file__).parents[1]}\nignore_missing_imports = true\n"
                                       "disallow_any_unimported = false\nfollow_imports = silent\n")
    said, _, status = api.run(["--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path), "--strict",
                               str(tmp_path / "script.py"), str(tmp_path / "wrong.py")])
    assert status == 1 and said.count("error:") == 2 and "script.py" not in said, said
