"""Without the packages of the extras: what needs none works, the rest is refused by a code that names the extra."""

import sys

import numpy as np
import pytest

import cortexc
from cortexc.compiler.experiments.data.baselines import linear_classifier
from cortexc.compiler.experiments.data.datasets import load_dataset

GRAPH = """graph one
  dt 0.1
cell leaky
  input value
  state v = 0
  receive v = 0.5 * prev(v) + value
  message v
population A leaky 2
"""
SPIKING = {"model.order": 10, "model.epsilon": 0.5, "protocol.duration_ms": 2, "protocol.warm_up_ms": 0, "run.backend": "interpreter"}


@pytest.fixture(autouse=True)
def base_install(monkeypatch):
    for name in [*sys.modules, "matplotlib.figure", "matplotlib", "sklearn", "sklearn.datasets", "sklearn.linear_model"]:
        if name.split(".")[0] in ("matplotlib", "sklearn"):
            monkeypatch.setitem(sys.modules, name, None)


def test_the_main_experiment_runs():
    found = cortexc.run(cortexc.load("pal_digits", {"run.backend": "interpreter"}), steps=3)
    assert found["steps"] == 3 and "1797 images" in found["data"]


def test_figures_name_their_extra():
    found = cortexc.simulate(cortexc.parse_graph(GRAPH), 3, inputs={"A.value": np.ones((3, 2))}, record=["A.v"])
    assert "A.v (3, 1, 2)" in found._repr_html_()
    with pytest.raises(cortexc.CortexError, match=r"X220 .*cortexc\[plots\]"):
        cortexc.plots.traces(found, "A.v")


def test_a_page_needs_no_extra(tmp_path):
    cortexc.run(cortexc.load("brunel", SPIKING), tmp_path)
    assert "<svg" in (tmp_path / "report.html").read_text()


def test_downloads_and_baselines_name_their_extra(monkeypatch, tmp_path):
    monkeypatch.delenv("CORTEXC_DATA", raising=False)
    monkeypatch.setattr("cortexc.compiler.experiments.data.image_sets.find_file", lambda *_: None)
    for call in (lambda: linear_classifier(load_dataset("digits")), lambda: load_dataset("mnist")):
        with pytest.raises(cortexc.CortexError, match=r"D411 .*cortexc\[data\]"):
            call()
