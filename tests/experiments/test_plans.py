"""Plans of the tasks: phases, samples, labels, recordings, and what cannot be made."""

import numpy as np
import pytest

from cortexc.compiler.experiments.circuits import build_circuit
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.tasks.classify import Classify, readout_steps
from cortexc.compiler.experiments.tasks.records import make_plan
from cortexc.compiler.ir import CortexError


def plan_of(tables, *overrides):
    experiment = load_experiment(tables, overrides)
    return make_plan(experiment, build_circuit(experiment.model, experiment.run.seeds), lambda x, seed: x + seed)


def code_of(tables, *overrides):
    with pytest.raises(CortexError) as caught:
        plan_of(tables, *overrides)
    return caught.value.code


def test_classification_validates_before_each_epoch_and_tests_at_the_end(tiny_classification):
    plan = plan_of(tiny_classification)
    assert plan.protocol.sequence == ("validation", "train", "validation", "train", "validation", "test")
    gates = {phase.name: {name for name, _ in phase.gates} for phase in plan.protocol.phases}
    assert gates["train"] == {"learn_forward", "learn_lateral", "learn_feedback", "noise", "target"}
    assert gates["validation"] == gates["test"] == {"noise"}
    assert plan.labels["test"].shape == (2, 6) and plan.labels["validation"].shape == (2, 4)
    parts = list(plan.parts())
    assert [p.epoch for p in parts] == [0, 0, 1, 1, 1, 1] and parts[-1].stop == plan.protocol.total
    assert plan.end_of_epoch(1) == parts[1].stop and plan.end_of_epoch(0) == plan.protocol.total


def test_targets_are_there_for_training_only(tiny_classification):
    samples = plan_of(tiny_classification, "data.target=[0.9, 0.2]").samples
    assert samples.shape == (22, 4)
    assert np.array_equal(np.sort(samples[:12, 2:], axis=1), np.tile([0.2, 0.9], (12, 1)))
    assert not samples[12:, 2:].any()


def test_tests_in_between_belong_to_their_epoch(tiny_classification):
    plan = plan_of(tiny_classification, "protocol.epochs=4", "protocol.test_every=2", "protocol.validation_every=2")
    assert plan.protocol.sequence == ("validation", "train", "train", "test", "validation", "train", "train",
                                      "validation", "test")
    assert plan.end_of_epoch(2) == list(plan.parts())[3].stop


def test_a_missing_validation_part_means_no_validation(tiny_classification):
    assert "validation" not in plan_of(tiny_classification, "data.limits.valid=0").protocol.sequence
    assert "validation" not in plan_of(tiny_classification, "protocol.validation=''").protocol.sequence


def test_readouts_are_the_last_four_of_five_instants():
    assert readout_steps(Classify(presentation_steps=1)) == (0,)
    assert readout_steps(Classify()) == (39, 59, 79, 99)
    assert readout_steps(Classify(presentation_steps=10, readout=[9, 3, 3])) == (3, 9)


def test_each_seed_may_have_its_own_split():
    tables = {"model": {"circuit": "pal", "layers": [64, 3, 10]}, "data": {"name": "digits", "split_seed": [0, 1]},
              "protocol": {"task": "classify", "epochs": 1}, "run": {"seeds": [1, 2], "backend": "native"}}
    plan = plan_of(tables)
    train = plan.protocol.phases[0]
    assert train.first == (0, 1797) and len(plan.samples) == 2 * 1797
    assert not np.array_equal(plan.labels["test"][0], plan.labels["test"][1])
    single = plan_of(tables, "data.split_seed=1", "run.seeds=[2]")
    assert np.array_equal(plan.samples[1797:], single.samples)
    assert code_of(tables, "data.split_seed=[1, 2, 3]") == "X125"


def test_the_published_feedback_task(tiny_feedback):
    plan = plan_of(tiny_feedback)
    assert plan.protocol.sequence == ("settle", "settle_rest", "train", "train", "train")
    settle, rest, train = plan.protocol.phases
    assert (settle.count, settle.steps, settle.gates) == (2, 5, ()) and (rest.count, rest.steps, rest.first) == (1, 2, (2,))
    assert {name for name, _ in train.gates} == {"learn_lateral", "learn_feedback", "noise"} and train.order == "train"
    expected = np.random.RandomState(123).uniform(0, 1, (4, 2))
    assert np.array_equal(plan.samples[:, :2], expected) and not plan.samples[:, 2:].any()


def test_the_published_teacher_task(tiny_feedback):
    tiny_feedback["protocol"]["task"] = "fw_bw"
    plan = plan_of(tiny_feedback)
    inputs = np.random.RandomState(873630).uniform(0, 1, (4, 2))
    assert np.array_equal(plan.samples, np.hstack([inputs, inputs + 873630]))
    assert {name for name, _ in plan.protocol.phases[-1].gates} == {
        "learn_forward", "learn_lateral", "learn_feedback", "noise", "target"}


STREAM = {"model": {"circuit": "pal", "layers": [2, 3, 1]},
          "data": {"inputs": {"input": [0.5, 0.1], "teacher.value": [[0.0], [1.0], [2.0]]}}}


def test_streams_mix_static_and_changing_arrays():
    plan = plan_of(STREAM)
    assert np.array_equal(plan.samples, [[0.5, 0.1, 0], [0.5, 0.1, 1], [0.5, 0.1, 2]])
    assert plan.protocol.total == 3 and plan.protocol.streams[0].quantities == ("P1.breve",)


def test_streams_read_files(tmp_path):
    np.savez(tmp_path / "in.npz", **{"input.value": np.ones((5, 2)), "other": np.zeros((5, 1))})
    tables = {**STREAM, "data": {"path": str(tmp_path / "in.npz"),
                                 "inputs": {"teacher": str(tmp_path / "in.npz") + ":other"}}}
    assert plan_of(tables).samples.shape == (5, 3)


def test_an_empty_stream_has_no_steps():
    for empty in ([], np.zeros((0, 1))):
        assert plan_of({**STREAM, "data": {"inputs": {"input": [0.5, 0.1], "teacher": empty}}}).protocol.total == 0


@pytest.mark.parametrize("inputs", [
    {"input": [0.5, 0.1]}, {"input": [1], "teacher": [1]}, {"input": [[1, 2]], "teacher": [[1], [2]]},
    {"inputs": [1, 2], "teacher": [1]}, {"input": [[[1, 2]]], "teacher": [1]}, {"input": ["a", "b"], "teacher": [1]},
    {"input": [[1, 2], [3]], "teacher": [1]}])
def test_arrays_that_do_not_fit_are_coded(inputs):
    assert code_of({**STREAM, "data": {"inputs": inputs}}) == "X123"


@pytest.mark.parametrize("record, code", [
    ({"quantities": ["P1.breve"]}, "X121"), ({"quantities": ["P1.breve"], "every": 2, "at": [1]}, "X121"),
    ({"every": 3}, "X121"), ({"quantities": ["P1.breve"], "every": 2, "phases": ["rum"]}, "X121"),
    ({"quantities": ["P1.breve"], "at": [1]}, "X121")])
def test_recordings_that_cannot_be_made_are_coded(record, code):
    assert code_of({**STREAM, "record": {"mine": record}}) == code


@pytest.mark.parametrize("override, code", [
    ("data.name=''", "X126"), ("data.into=inpt", "X123"), ("model.layers=[3, 3, 2]", "X120"),
    ("model.layers=[2, 3, 3]", "X120"), ("protocol.readout=[10]", "X122"), ("data.limits.test=0", "D404"),
    ("protocol.settling_steps=1000", "X122"), ("data.name=digit", "D401"), ("protocol.train_gates=['lern']", "E273")])
def test_classification_that_does_not_fit_is_coded(tiny_classification, override, code):
    assert code_of(tiny_classification, override) == code
