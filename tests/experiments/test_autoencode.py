"""The task `autoencode`: codes are read sample by sample, without learning, and a probe scores them."""

import numpy as np
import pytest

from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.experiments.tasks.autoencode import probe
from cortexc.compiler.ir import CortexError

TABLES = {"model": {"circuit": "layered-pal", "layers": [64, 3, 2, 3, 64], "reconstructs": True, "start": "normal",
                    "activation": ["tanh", "linear", "tanh", "linear"], "eta_fw": [0.05]},
          "data": {"name": "digits", "limits": {"train": 40, "test": 20}},
          "protocol": {"task": "autoencode", "epochs": 3, "presentation_steps": 6, "minibatch": 16, "code": "L2.rate",
                       "probe_steps": 3, "probe_every": 2},
          "run": {"backend": "native", "seeds": [1, 2]}}


@pytest.fixture(autouse=True)
def _as_it_is(monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")


def changed(**tables):
    return {name: {**TABLES[name], **tables.get(name, {})} for name in TABLES}


def test_codes_are_those_of_the_weights_sample_by_sample():
    """Two epochs, two seeds; the training samples do not fill the last minibatch, and are shown in their order."""
    with Session(load_experiment(changed(protocol={"epochs": 2}))) as session:
        session.run()
        task, plan = session.experiment.protocol, session.plan
        assert [part.phase for part in plan.parts()] == ["label", "test", "train", "train", "label", "test"]
        weights = {name: session.runner.value(name) for name in ("W_1.w", "b_1.w", "W_2.w", "b_2.w")}
        codes = task._codes(plan, session.records, "label")
        found = task.scores(plan, session.records, session.position)
        tests = task._codes(plan, session.records, "test")
    assert [len(each) for each in (codes, tests, found)] == [2, 2, 2] and codes[1].shape == (2, 40, 2)
    assert [each.epoch for each in found] == [-1, 1]  # before the first epoch; after the second one
    for seed in range(2):
        hidden = np.tanh(plan.samples[:40] @ weights["W_1.w"][seed].T + weights["b_1.w"][seed].T)
        expected = hidden @ weights["W_2.w"][seed].T + weights["b_2.w"][seed].T
        assert np.abs(codes[1][seed] - expected).max() < 1e-12
        labels = plan.labels["label"][seed], plan.labels["test"][seed]
        assert found[1].values[seed] == probe(codes[1][seed], labels[0], tests[1][seed], labels[1])
    assert not np.allclose(codes[0], codes[1])


def test_a_probe_is_due_after_every_second_epoch():
    experiment = load_experiment(changed())
    with Session(experiment) as session:
        assert [(part.phase, part.epoch) for part in session.plan.parts() if part.phase != "label"] == [
            ("test", 0), ("train", 0), ("train", 1), ("test", 1), ("train", 2)]


@pytest.mark.parametrize("code, tables", [
    ("X120", {"model": {"reconstructs": False}}), ("X122", {"protocol": {"code": ""}}),
    ("X122", {"protocol": {"minibatch": 41}})])
def test_what_cannot_be_made(code, tables):
    with pytest.raises(CortexError, match=code):
        Session(load_experiment(changed(**tables)))
