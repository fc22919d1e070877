"""Every key of every table of an experiment: what it takes, and that everything else is refused with its place."""

import msgspec
import pytest

from cortexc.compiler.experiments.config import EARLIER, TABLES, load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.experiments.tables import RecordTable
from cortexc.compiler.experiments.tasks.table import TASKS
from cortexc.compiler.ir import CortexError

HUGE = (10**18, 2**63, 2**64, 10**30)
REAL = (("x", True, [1], {"a": 1}, float("nan"), float("inf")), (0.5, 1, -2.5))
TEXT = ((1, 0.5, True, ["x"], {"a": "x"}), ("x",))
TEXTS = (("x", 1, [1], {"a": 1}), ([], ["x", "y"]))
FLAG = ((0, 1, "true", []), (True, False))
RANGES = (({"w": 1}, {"w": [1]}, {"w": [1, 2, 3]}, {"w": ["a", "b"]}, [1], "x"), ({}, {"w": [0, 1]}))


def whole(*good, low=-1, more=()):
    """Whole numbers from `low` + 1 on, and not as many as would not fit."""
    return ((low, -(10**18), 0.5, "x", True, [1], {"a": 1}, *more), good)


def one_of(*good):
    return (("zzz", 1, ["x"], {"a": 1}), good)


# table.key -> (values that are refused, values that are taken)
DOMAINS = {
    "model.circuit": ((1, ["x"], {"a": 1}), ("pal",)), "model.start": TEXT, "model.arrays": TEXT,
    "model.ranges": RANGES, "model.variants": ((1, "x", [1]), ({},)), "data.name": TEXT,
    "data.split": TEXT, "data.split_seed": ((-1, 0.5, "x", [-1], {"a": 1}, *HUGE), (0, 7, [1, 2])),
    "data.limits": (({"train": -1}, {"train": 0.5}, {"train": 10**18}, [1], 3, "x"), ({}, {"train": 5})),
    "data.valid_fraction": REAL, "data.folder": TEXT, "data.target": (([1], [1, 2, 3], 1, "x", ["a", "b"]), ([1, 0],)),
    "data.normalise": (([1], 1, "x", [1, "a"]), ([0.5, 2],)), "data.crop": whole(0, 3, more=HUGE), "data.into": TEXT,
    "data.target_into": TEXT, "data.path": TEXT, "data.inputs": ((1, "x", [1]), ({}, {"a": [1, 2]})),
    "protocol.task": one_of("classify", "stream"), "protocol.epochs": whole(0, 1000, more=(*HUGE, 10**9)),
    "protocol.presentation_steps": whole(1, 10**6, low=0, more=(*HUGE, 10**9)),
    "protocol.minibatch": whole(1, 100, low=0, more=(*HUGE, 10**9)), "protocol.settling_steps": whole(0, 50, more=HUGE),
    "protocol.dataset_size": whole(0, 9, more=(*HUGE, 10**9)),
    "protocol.readout": (([-1], [0.5], 3, "x", [10**18]), ([], [1, 2])), "protocol.train_gates": TEXTS,
    "protocol.learning_lag": whole(0, 5, more=HUGE),
    "protocol.halve_at": (([-1], [0.5], 3, "x", [10**18]), ([], [1, 2])),
    "protocol.update_every": whole(0, 5, more=(*HUGE, 10**9)), "protocol.test_gates": TEXTS,
    "protocol.reset": (("x", 1, True, [1], {"a": 1}), ("none", "states", [], ["B.v"])), "protocol.shuffle": FLAG,
    "protocol.validation": one_of("", "train", "valid", "test"), "protocol.validation_every": whole(0, 5, more=HUGE),
    "protocol.validation_gates": TEXTS, "protocol.test_every": whole(0, 5, more=HUGE), "protocol.teacher": RANGES,
    "protocol.teacher_activation": TEXT, "protocol.teacher_matrix": (([1], "x", [["a"]], 1), ([], [[1, 2]])),
    "protocol.teacher_output": one_of("", "rate", "voltage"), "protocol.input_range": (([1], 1, ["a", "b"]), ([-1, 1],)),
    "protocol.feedback_every": whole(0, 5, more=HUGE), "protocol.control_moves": whole(0, 5, more=(*HUGE, 10**9)),
    "protocol.schedule": ((1, "x", [1], {"a": 1}, {"a": {"at": [0.5]}}, {"a": {"from": -1}}, {"a": {"until": 0}}, {"a": {"to": 1}}),
                          ({}, {"a": {"at": [-1, 0]}}, {"a": {"from": 3, "until": 7}})),
    "protocol.duration_ms": ((-1, 1e10, *REAL[0]), (0.1, 500)), "protocol.warm_up_ms": ((-1, 1e10, *REAL[0]), (0, 500)),
    "protocol.gates": TEXTS, "protocol.traces": whole(0, 3, more=HUGE), "protocol.code": TEXT,
    "protocol.probe_steps": whole(1, 10**6, low=0, more=(*HUGE, 10**9)), "protocol.probe_every": whole(0, 5, more=HUGE),
    "protocol.stimuli": whole(2, 9, low=1, more=HUGE), "protocol.tests": whole(0, 5, more=HUGE),
    "protocol.cues": whole(1, 7, low=0, more=HUGE), "protocol.delay_steps": whole(0, 9, more=HUGE),
    "protocol.shown_steps": whole(0, 9, more=HUGE), "protocol.slow_samples": whole(0, 9, more=HUGE),
    "protocol.slow_pace": REAL, "protocol.label_samples": whole(0, 9, more=HUGE), "protocol.records_training": FLAG,
    "protocol.control_seed": whole(0, 5), "protocol.first_seed": whole(0, 5),
    "run.seeds": (([], [2**64], [-1], [0.5], 1, "x", [True]), ([0], [1, 2**64 - 1])), "run.backend": one_of("lava", "native"),
    "run.granularity": one_of("area", "neurocore"), "run.hardware": TEXT,
    "run.block_ms": ((0, -1, 251, 10**9, "x", True), (0.5, 250)), "run.noise": one_of("", "legacy"), "run.stock": FLAG,
    "run.threads": ((0, -1, 65, 0.5, "x", True), (1, 64)),
    "run.until_epoch": whole(0, 5, more=HUGE), "run.checkpoint_seconds": ((-1, "x", True, [1]), (0, 0.5)),
    "passes.disable": TEXTS, "precision.weights": whole(0, 24, more=(25, *HUGE)),
    "precision.states": whole(4, 32, low=3, more=(33, *HUGE)), "precision.messages": whole(2, 32, low=1, more=(33,)),
    "precision.factors": whole(2, 32, low=1, more=(33,)), "precision.tags": whole(2, 32, low=1, more=(33,)),
    "precision.tables": whole(2, 16, low=1, more=(17,)), "precision.values": whole(2, 32, low=1, more=(33,)),
    "precision.coefficients": whole(1, 24, low=0, more=(25,)),
    "precision.rounding": one_of("stochastic", "shared", "lava", "nearest"),
    "precision.factor_rounding": one_of("nearest", "stochastic"),
    "precision.formats": (({"a": 1}, [1], "x", 1), ({}, {"a.b": "12"})),
    "precision.calibration_steps": whole(0, 5, more=HUGE), "precision.map": TEXT,
    "precision.credit": one_of("held", "settled", "never"), "precision.count": FLAG,
    "precision.groups": ((0, 17, 0.5, "x", [1], *HUGE), (1, 16, "auto")),
    "record.mine.quantities": TEXTS, "record.mine.angles": (([["a"]], ["a"], 1, [["a", "b", "c"]]), ([], [["a", "b"]])),
    "record.mine.errors": (([["a"]], ["a"], 1), ([], [["a", "b"]])), "record.mine.every": whole(0, 5, more=HUGE),
    "record.mine.offset": whole(0, 5, more=HUGE), "record.mine.at": ((["a"], 1, [0.5]), ([], [-1, 3])),
    "record.mine.at_end": FLAG, "record.mine.events": FLAG, "record.mine.cells": whole(0, 3, more=HUGE), "record.mine.phases": TEXTS,
}
PLAIN = {"model": {"circuit": "pal", "layers": [2, 3, 2]}}
CASES = [(key, value) for key, (bad, _) in DOMAINS.items() for value in bad]


def with_its_task(key, value):
    """The key with the first task that has it."""
    table, _, name = key.partition(".")
    having = [task for task, struct in TASKS.items() if name in struct.__struct_fields__]
    return {**({"protocol.task": having[0]} if table == "protocol" and name != "task" else {}), key: value}


def test_the_table_has_every_key():
    keys = {f"{table}.{key}" for table, struct in TABLES.items() for key in struct.__struct_fields__}
    keys |= {f"protocol.{key}" for struct in TASKS.values() for key in ("task", *struct.__struct_fields__)}
    keys |= {f"record.mine.{key}" for key in RecordTable.__struct_fields__}
    assert set(DOMAINS) == keys - {"model.options"}


@pytest.mark.parametrize("key, value", CASES)
def test_values_outside_their_domain_are_refused_with_their_place(key, value):
    with pytest.raises(CortexError) as caught:
        load_experiment(PLAIN, with_its_task(key, value))
    assert caught.value.code in (("X104", "X106") if key == "model.circuit" else ("X104",))
    assert key.rpartition(".")[2] in caught.value.message and "\n" not in caught.value.message


@pytest.mark.parametrize("key", DOMAINS)
def test_values_of_the_domain_are_taken_and_read_back(key, tmp_path):
    for value in DOMAINS[key][1]:
        experiment = load_experiment(PLAIN, with_its_task(key, value))
        (tmp_path / "experiment.toml").write_text(experiment.text())
        assert load_experiment(tmp_path).tables() == experiment.tables()


@pytest.mark.parametrize("task", TASKS)
def test_keys_of_other_tasks_are_unknown_but_for_what_old_run_folders_hold(task):
    own = {"task", *TASKS[task].__struct_fields__}
    for key in set(EARLIER) - own:
        other = next(value for value in DOMAINS[f"protocol.{key}"][1] if value != EARLIER[key])
        chosen = {"protocol.task": task, f"protocol.{key}": EARLIER[key]}
        assert load_experiment(PLAIN, chosen) == load_experiment(PLAIN, {"protocol.task": task})
        with pytest.raises(CortexError, match=f"X103 .*task '{task}' '{key}'; known: .*epochs.*It is a key of ") as caught:
            load_experiment(PLAIN, {**chosen, f"protocol.{key}": other})
        assert all(name in caught.value.message for name in own)


SHARED = {"classify": "52f1b89a6c76fab3", "bw_only": "6cc0480b0dac75dd", "fw_bw": "c3a8e7db4a076221",
          "teacher_student": "f276aac864903ab9", "match_to_sample": "f034bd921274bb90", "control": "604cdf40cd19d734",
          "generate": "1daeb872c5ed072d", "stream": "1cdf839c6f02406f"}
"""Tasks that once shared a table -> a digest from then."""


@pytest.mark.parametrize("task, digest", SHARED.items())
def test_digests_are_those_from_when_tasks_shared_a_table(task, digest):
    """Checkpoints of that time can be resumed."""
    assert load_experiment(PLAIN, {"protocol.task": task, "protocol.epochs": 3}).sha256().startswith(digest)


def test_every_key_has_the_default_that_digests_know():
    """Of an experiment that does not name a key, the digest is the one from before tasks had tables of their own."""
    for struct in map(TASKS.__getitem__, SHARED):
        found = msgspec.json.decode(msgspec.json.encode(struct()))
        assert all(value == EARLIER[key] for key, value in found.items() if key in EARLIER and key != "task")


@pytest.mark.parametrize("overrides, code, words", [
    ({"protocol.learning_lag": 10}, "X122", "no rule would learn"), ({"protocol.update_every": 13}, "X122", "12"),
    ({"protocol.readout": [10]}, "X122", "step 10"), ({"protocol.settling_steps": 10**6}, "X122", "settling_steps"),
    ({"protocol.minibatch": 13}, "X122", "12"), ({"protocol.train_gates": ["x"]}, "E273", "x"),
    ({"record.a": {"quantities": ["P0.rate"], "every": 5, "offset": 10**9}}, "X121", "nothing"),
    ({"record.a": {"quantities": ["P0.rate"], "at": [10]}}, "X121", "step 10"),
    ({"record.a": {"quantities": ["P0.rate"], "at": [-11]}}, "X121", "step -11"),
    ({"record.a": {"quantities": ["P0.rate"], "at": [1], "every": 2}}, "X121", "exactly one"),
    ({"record.a": {"quantities": ["P0.rate"], "at": [1], "phases": ["trian"]}}, "X121", "Did you mean 'train'?"),
    ({"data.limits": {"trian": 1}}, "D406", "train"), ({"data.limits": {"train": 0}}, "D404", "train"),
    ({"data.valid_fraction": 2.0}, "D406", "valid_fraction"), ({"data.crop": 3}, "X120", "crop")])
def test_values_that_do_not_fit_the_task_are_coded(tiny_classification, overrides, code, words):
    with pytest.raises(CortexError) as caught:
        Session(load_experiment(tiny_classification, overrides))
    assert caught.value.code.startswith(code) and words in str(caught.value)


def test_a_long_presentation_takes_little_memory(tmp_path):
    """A static input for ten million steps, of which a few are run."""
    tables = {"model": {"circuit": "pal", "layers": [2, 3, 1]}, "run": {"backend": "native"},
              "data": {"inputs": {"input": [0.1, 0.2], "teacher": [0.5]}},
              "protocol": {"presentation_steps": 10**7, "epochs": 10**5}}
    with Session(load_experiment(tables)) as session:
        assert session.total == 10**12 and session.run(5) == 5


def test_steps_that_are_due_are_the_same_however_they_are_asked_for():
    from cortexc.compiler.backends.runtime import due_steps

    phase = {"steps": 7}
    for at in ((0,), (6,), (2, 5), (5, 2, 2)):
        rule = {"every": 0, "offset": 0, "steps": (), "at": at}
        every = [step for step in range(70) if step % 7 in at]
        assert due_steps(rule, phase, 0, 70).tolist() == every
        for start, stop in ((0, 0), (3, 3), (3, 5), (5, 9), (13, 36), (69, 70)):
            assert due_steps(rule, phase, start, stop).tolist() == [step for step in every if start <= step < stop]
