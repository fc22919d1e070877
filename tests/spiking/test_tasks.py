"""Tasks of spiking circuits: digits without a teacher, evidence, conditioning."""

import numpy as np
import pytest

import cortexc
from cortexc.compiler.experiments.compilation import compile_experiment
from cortexc.compiler.experiments.tasks.conditioning import DELAY, HELD, SHOWN, TRIAL
from cortexc.compiler.experiments.tasks.evidence import Evidence
from cortexc.compiler.experiments.tasks.unsupervised import answers, assign
from cortexc.compiler.ir import CortexError

DIGITS = {"model.cells": 12, "model.pixels": 64, "model.total": 20.0, "model.highest_rate": 200.0, "data.name": "digits", "data.split": "stratified",
          "data.limits": {"train": 40, "test": 20}, "data.normalise": [0.0, 1.0], "protocol.presentation_steps": 60,
          "protocol.label_samples": 30, "protocol.slow_samples": 10, "run.seeds": [1]}
EPROP = {"model.cells": 8, "model.adaptive": 4, "model.cues": 8, "protocol.cues": 3, "protocol.delay_steps": 50,
         "protocol.dataset_size": 8, "protocol.tests": 6, "protocol.epochs": 2, "protocol.update_every": 4,
         "run.seeds": [1, 2]}
REWARD = {"protocol.dataset_size": 100, "protocol.tests": 60, "protocol.epochs": 1, "model.rate": 0.02,
          "run.seeds": [1, 2]}


def run(name, table, folder=None, **more):
    changed = {key.replace("__", "."): value for key, value in more.items()}
    return cortexc.run(cortexc.load(name, {**table, **changed}), folder)


def shown(folder):
    """Charts, matrices of confusions and pictures of a report."""
    page = (folder / "report.html").read_text()
    return [page.count(each) for each in ('<figure class="chart', 'class="matrix"', "<img")]


# ---- digits without a teacher


def test_cells_get_the_class_to_which_they_respond_most():
    labels = np.array([0, 0, 0, 1, 2])
    responses = np.array([[2, 0, 1, 0], [2, 0, 1, 0], [2, 0, 1, 0], [0, 5, 4, 0], [1, 0, 0, 0]])
    assert assign(responses, labels, 4).tolist() == [0, 1, 1, -1]


def test_the_answer_is_the_class_whose_cells_respond_most_on_average():
    assigned = np.array([0, 0, 0, 1, -1])
    responses = np.array([[1, 1, 1, 2, 9], [3, 2, 2, 2, 0], [0, 0, 0, 0, 0]])
    assert answers(responses, assigned, 3).tolist() == [1, 0, 0]


def test_digits_are_seen_without_their_labels_and_labelled_afterwards(tmp_path):
    found = run("diehl_cook", DIGITS, tmp_path)
    assert shown(tmp_path) == [1, 1, 1]
    assert found["test_accuracy"] == np.mean(np.diag(confusion := np.array(found["confusion"][0]))) * len(confusion) / 20
    assert confusion.sum() == 20 and len(found["assigned"][0]) == 12 and len(found["curve"][0]) == 19
    plan = compile_experiment(cortexc.load("diehl_cook", DIGITS)).plan
    assert plan.samples.shape == (60, 64)


def test_weights_are_scaled_after_every_image_and_rest_in_the_test():
    with cortexc.Session(cortexc.load("diehl_cook", DIGITS)) as session:
        first = session.get("to_excitatory.w").copy()
        session.run(40 * 60)
        learnt, theta = session.get("to_excitatory.w").copy(), session.get("excitatory.theta").copy()
        assert session.runner.records.rows("readout_train", "excitatory.count").sum() > 40
        session.run()
        assert (session.get("to_excitatory.w") == learnt).all() and (session.get("excitatory.theta") == theta).all()
    assert np.abs(learnt - first).max() > 0.01 and theta.max() > 20
    assert np.allclose(learnt.sum(axis=1), 20.0, rtol=1e-3)


def test_the_pace_is_that_of_rules():
    """At a pace of 0 weights are scaled, to the sum that they have, and thresholds adapt."""
    still = {**DIGITS, "protocol.slow_samples": 40, "protocol.slow_pace": 0.0}
    with cortexc.Session(cortexc.load("diehl_cook", still)) as session:
        first = session.get("to_excitatory.w").copy()
        session.run(40 * 60)
        assert np.allclose(session.get("to_excitatory.w"), first, rtol=1e-12) and session.get("excitatory.theta").max() > 20


@pytest.mark.parametrize("more, code", [({"protocol__label_samples": 0}, "X122"), ({"protocol__slow_samples": 41}, "X122"),
                                         ({"protocol__shown_steps": 61}, "X122"),
                                        ({"model__pixels": 63}, "X120"), ({"protocol__label_samples": 41}, "X122")])
def test_digits_that_do_not_fit(more, code):
    with pytest.raises(CortexError, match=code):
        run("diehl_cook", DIGITS, **more)


# ---- evidence


def test_the_answer_is_the_side_with_most_cues():
    task = Evidence(cues=5, delay_steps=100)
    levels, sides = task.trials(3, 50)
    shown = levels.reshape(50, task.units, 4)
    cues = shown[:, 0:15:3, :2]
    assert (cues.sum(axis=2) == 1).all() and (shown[:, 2:15:3, :2] == 0).all() and (shown[:, 1:15:3, :2] == cues).all()
    assert (sides == (cues[:, :, 1].sum(axis=1) > 2)).all() and 10 < sides.sum() < 40
    assert (shown[:, -3:, 2] == 1).all() and (shown[:, :-3, 2] == 0).all() and (shown[:, 15:, :2] == 0).all()


def test_evidence_is_counted_per_seed_and_epoch(tmp_path):
    found = run("eprop", EPROP, tmp_path)
    assert shown(tmp_path) == [3, 0, 0]
    assert len(found["tests"]) == 2 and all(len(test["accuracy"]) == 2 for test in found["tests"])
    assert np.shape(found["training"]) == (2, 2) and found["steps"] == (8 + 6) * 2 * (9 + 1 + 3) * 50


@pytest.mark.parametrize("more, code", [({"protocol__delay_steps": 70}, "X122"), ({"protocol__update_every": 3}, "X122"),
                                        ({"model__cues": 6}, "X120"), ({"protocol__tests": 0}, "X122")])
def test_evidence_that_does_not_fit(more, code):
    with pytest.raises(CortexError, match=code):
        run("eprop", EPROP, **more)


def test_evidence_asks_for_its_gates():
    with pytest.raises(CortexError, match="X124.*recall"):
        cortexc.run(cortexc.load({"model": {"circuit": "pal", "layers": [4, 3, 2]}, "protocol": {"task": "evidence"}}))


# ---- conditioning


def test_reward_follows_the_first_stimulus_alone():
    plan = compile_experiment(cortexc.load("rstdp", REWARD)).plan
    trials = plan.samples.reshape(160, TRIAL // HELD, 41)
    shown = trials[:, SHOWN // HELD, :40].reshape(160, 5, 8).mean(axis=2)
    assert (shown.sum(axis=1) == 1).all() and trials[:, :, :40].sum() == 160 * 8
    train, rewards = shown[:100].argmax(axis=1), trials[:, :, 40]
    assert (rewards[:100].sum(axis=1) == (train == 0)).all() and not rewards[100:].any()
    late = rewards[:100].argmax(axis=1)[train == 0] * HELD - SHOWN
    assert late.min() >= DELAY[0] and late.max() < DELAY[1] and len(set(late)) > 5


def test_the_rewarded_stimulus_is_told_from_the_others(tmp_path):
    found = run("rstdp", REWARD, tmp_path)
    assert shown(tmp_path) == [3, 0, 0]
    before, after = (test["accuracy"] for test in found["tests"])
    assert max(before) < 0.7 and min(after) > 0.9
    assert all(row[0] == max(row) for row in found["responses"][-1])


def test_without_a_rate_nothing_is_learnt():
    before, after = (test["accuracy"] for test in run("rstdp", REWARD, model__rate=0.0)["tests"])
    assert max(after) < 0.7


@pytest.mark.parametrize("more, code", [({"protocol__stimuli": 3}, "X124"), ({"protocol__tests": 0}, "X122")])
def test_conditioning_that_does_not_fit(more, code):
    with pytest.raises(CortexError, match=code):
        run("rstdp", REWARD, **more)


# ---- Lava


@pytest.mark.lava
@pytest.mark.parametrize("name, table, steps", [("diehl_cook", DIGITS, 600), ("eprop", EPROP, 500), ("rstdp", REWARD, 400)])
def test_lava_has_the_bits_of_native(name, table, steps):
    found = []
    for backend in ("native", "lava"):
        with cortexc.Session(cortexc.load(name, {**table, "run.backend": backend})) as session:
            session.run(steps)
            graph = session.compiled.graph
            found.append({q.name: session.get(f"{q.name}.w").copy() for q in graph.projections if graph.rule_of(q)})
    assert all((found[0][key] == found[1][key]).all() for key in found[0])
