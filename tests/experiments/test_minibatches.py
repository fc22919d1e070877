"""Minibatches: every sample of a presentation sees a row of its own, in training and in tests; runs can be resumed."""

import numpy as np
import pytest

from cortexc.compiler.backends.runtime import Feed, NoiseSpec
from cortexc.compiler.experiments.circuits import build_circuit
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.experiments.tasks.classify import presentation
from cortexc.compiler.experiments.tasks.records import make_plan
from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.protocol import Phase, Protocol

TABLES = {"model": {"circuit": "sign-concordant", "layers": [64, 6, 10], "start": "normal", "eta": [0.05]},
          "data": {"name": "digits", "limits": {"train": 100, "test": 20}, "target": [1.0, 0.0]},
          "protocol": {"task": "classify", "epochs": 2, "presentation_steps": 5, "minibatch": 16},
          "run": {"backend": "native", "seeds": [1]}}


@pytest.fixture
def experiment(monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    return load_experiment(TABLES)


def test_a_feed_spreads_rows_over_samples():
    phase = Phase("train", 3, 2, (10,), "train", rows=11)
    feed = Feed(Protocol((phase,), ("train",)).as_data(), [], NoiseSpec("counter", [1, 2], [], 0, samples=3))
    rows = feed.block(100).rows[::2]
    assert rows.shape == (3, 6)
    for seed in (rows[:, :3], rows[:, 3:]):
        assert len(set(seed.ravel())) == 9 and seed.min() >= 10 and seed.max() <= 20
    assert not np.array_equal(rows[:, :3], rows[:, 3:])


def test_rows_that_do_not_fill_a_presentation_repeat_the_last():
    phase = Phase("test", 3, 1, rows=7)
    feed = Feed(Protocol((phase,), ("test",)).as_data(), [], NoiseSpec("counter", [1], [], 0, samples=3))
    assert feed.block(3).rows.ravel().tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 6]


def test_the_plan_of_a_minibatch(experiment):
    graph = build_circuit(experiment.model, [1], "", 16)
    plan = make_plan(experiment, graph)
    train, test = (next(p for p in plan.protocol.phases if p.name == name) for name in ("train", "test"))
    assert (train.count, train.rows, test.count, test.rows) == (6, 100, 2, 20)
    assert dict(train.gates)["apply"] == (0.0, 0.0, 0.0, 0.0, 1.0) and [gate for gate, _ in test.gates] == ["start"]


def test_an_interrupted_run_goes_on_to_the_same_bits(experiment, tmp_path):
    with Session(experiment) as whole:
        whole.run()
        expected = {name: whole.runner.value(name) for name in ("wE_1.w", "wI_2.w")}
        assert whole.position == whole.total == 2 * 6 * 5 + 2 * 5
        scores = whole.records.rows("readout_test", "PC2.psc")
    with Session(experiment, tmp_path) as first:
        first.run(37)
        first.checkpoint()
    with Session(experiment, tmp_path) as second:
        assert second.resume() == 37
        second.run()
        for name, values in expected.items():
            assert np.array_equal(second.runner.value(name), values), name
        assert np.array_equal(second.records.rows("readout_test", "PC2.psc"), scores)


def test_the_accuracy_counts_every_test_sample_once(experiment):
    from cortexc.compiler.experiments.tasks.plans import scores

    with Session(experiment) as session:
        session.run()
        found = scores(session.plan, session.records, session.position)[-1]
        output = session.records.rows("readout_test", "PC2.psc").reshape(2, 5, 16, 10).mean(1).reshape(32, 10)[:20]
        labels = session.plan.labels["test"][0]
    assert found.values == (float(np.mean(output.argmax(1) == labels)),)


def test_too_short_a_presentation_is_an_error():
    with pytest.raises(CortexError, match="E315"):
        short = load_experiment({**TABLES, "protocol": {**TABLES["protocol"], "presentation_steps": 4}})
        presentation(short.protocol, short.model)


def test_cropped_images():
    from cortexc.compiler.experiments.tasks.classify import load_sets

    cut = load_sets(load_experiment(TABLES, {"data.crop": 2}).data, 1)[0]
    whole = load_sets(load_experiment(TABLES).data, 1)[0]
    assert cut.n_in == 16 and "2 pixels" in cut.source
    assert np.array_equal(cut.train_x[0].reshape(4, 4), whole.train_x[0].reshape(8, 8)[2:6, 2:6])
    with pytest.raises(CortexError, match="X120"):
        load_sets(load_experiment(TABLES, {"data.crop": 4}).data, 1)
