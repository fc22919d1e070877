"""Gates of a presentation's steps, as an experiment says them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cortexc.compiler.experiments.compilation import compile_experiment
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.experiments.tasks.plans import When
from cortexc.compiler.ir import CortexError, parse_graph

CIRCUIT = """graph counted
  gate learn
  gate nudge
cell c
  state v = 0
  receive v = prev(v) + gate.learn + 100 * gate.nudge
population a c 1
"""


@pytest.fixture
def experiment(tmp_path: Path):
    (tmp_path / "c.ir").write_text(CIRCUIT)

    def load(schedule: str, *overrides: str):
        (tmp_path / "e.toml").write_text("[model]\ncircuit = 'c.ir'\n[protocol]\ntask = 'stream'\npresentation_steps = 5\n"
                                         f"epochs = 2\n{schedule}[record.s]\nevery = 1\nquantities = ['a.v']\n")
        return load_experiment(str(tmp_path / "e.toml"), [*overrides])
    return load


@pytest.mark.parametrize("learn, on", [
    ("{at = [-1]}", [0, 0, 0, 0, 1]), ("{at = [0, 3]}", [1, 0, 0, 1, 0]), ("{at = []}", [0] * 5), ("{}", [1] * 5),
    ("{from = 2}", [0, 0, 1, 1, 1]), ("{from = 1, until = 3}", [0, 1, 1, 0, 0]), ("{until = 2}", [1, 1, 0, 0, 0]),
    ("{every = 2}", [1, 0, 1, 0, 1]), ("{from = 1, every = 3}", [0, 1, 0, 0, 1])])
def test_a_gate_is_on_when_the_schedule_says_so_and_others_as_before(experiment, learn: str, on: list[int]) -> None:
    loaded = experiment(f"[protocol.schedule]\nlearn = {learn}\n", "run.backend='native'")
    with Session(loaded) as session:
        session.run()
        v = session.records.rows("s", "a.v").ravel()
    assert np.diff(v, prepend=0.0).tolist() == [100.0 + step for step in on] * 2
    assert load_experiment(loaded.tables()) == loaded


def test_a_schedule_belongs_to_the_digest_and_none_leaves_it_as_it_was(experiment) -> None:
    plain = experiment("")
    assert plain.sha256() == experiment("[protocol.schedule]\n").sha256()
    assert plain.sha256() != experiment("[protocol.schedule]\nlearn = {at = [-1]}\n").sha256()


@pytest.mark.parametrize("when", [When(at=[5]), When(at=[-6]), When(at=[1], from_=2), When(at=[1], until=2), When(at=[1], every=2)])
def test_steps_that_no_presentation_has_are_refused(when: When) -> None:
    with pytest.raises(CortexError, match="X122 gate 'learn' is at .*5 steps"):
        when.pattern("gate 'learn'", 5)


def test_a_gate_that_the_circuit_does_not_have_is_refused(experiment) -> None:
    with pytest.raises(CortexError, match="E273 .*lern"), Session(experiment("[protocol.schedule]\nlern = {}\n")) as session:
        session.run()


def test_simulate_takes_a_schedule() -> None:
    graph = parse_graph(CIRCUIT)
    gates = {"learn": {"at": [0, -1]}, "nudge": {"from": 2, "until": 5, "every": 2}}
    found = simulate(graph, 6, gates=gates, record="a.v", backend="interpreter")["a.v"].ravel()
    assert np.diff(found, prepend=0.0).tolist() == [1, 0, 100, 0, 100, 1]
    for wrong, code in (({"at": [6]}, "X122"), ({"form": 2}, "X203"), ({"from": -1}, "X203"), ({"at": ["x"]}, "X203")):
        with pytest.raises(CortexError, match=code):
            simulate(graph, 6, gates={"learn": wrong}, record="a.v", backend="interpreter")


def test_the_task_simulate_has_a_schedule(tmp_path: Path) -> None:
    (tmp_path / "c.ir").write_text(CIRCUIT)
    loaded = load_experiment({"model": {"circuit": str(tmp_path / "c.ir")}, "run": {"backend": "interpreter"},
                              "protocol": {"task": "simulate", "duration_ms": 4.0, "schedule": {
                                  "learn": {"from": 3}, "nudge": {"at": [0]}}},
                              "record": {"s": {"every": 1, "quantities": ["a.v"]}}})
    with Session(loaded) as session:
        session.run()
        assert session.records.rows("s", "a.v").ravel().tolist() == [100, 100, 100, 101]


def test_only_training_of_a_classification_has_the_schedule(tiny_classification) -> None:
    schedule = {"protocol.schedule.learn_forward": {"at": [-1]}}
    plan, plain = (compile_experiment(load_experiment(tiny_classification, more)).plan for more in (schedule, {}))
    for phase, before in zip(plan.protocol.phases, plain.protocol.phases, strict=True):
        gates = dict(phase.gates)
        if phase.name.startswith("train"):
            assert gates["learn_forward"] == (0.0,) * (phase.steps - 1) + (1.0,)
            assert {**gates, "learn_forward": 0} == {**dict(before.gates), "learn_forward": 0}
        else:
            assert phase == before
