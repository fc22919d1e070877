"""What must stay true: the rule is local, what runs is the circuit, it learns, and it becomes Lava code."""

from pathlib import Path

import cortexc

EXPERIMENT = cortexc.load(Path(__file__).with_name("my_experiment.toml"), {"run.backend": "native"})


def test_the_rule_is_local():
    assert "rule traced_delta: local" in cortexc.explain(EXPERIMENT).text


def test_what_runs_is_the_circuit():
    assert cortexc.verify(EXPERIMENT, on="native", steps=200).passed


def test_it_learns():
    assert cortexc.run(EXPERIMENT)["test_accuracy"] > 0.8


def test_it_becomes_lava_code(tmp_path):
    cortexc.compile_to_folder(EXPERIMENT, tmp_path / "lava")
    assert (tmp_path / "lava" / "network_lava.py").exists()
