"""`cortexc bench feedback-matters`: its cases are experiments, and its verdict is about the spread."""

import pytest

from cortexc.compiler.bench import feedback_matters
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.ir import CortexError

CASES = list(feedback_matters.cases())


def test_every_circuit_has_its_rows_and_every_row_an_experiment():
    by_task = {}
    for case in CASES:
        load_experiment(case.base, {**case.overrides, "run.seeds": [11]})
        by_task.setdefault((case.task, case.circuit), []).append(case)
    for (_, circuit), rows in by_task.items():
        copied = [] if circuit == "pal-chip" else ["BP"]  # no chip copies weights
        assert {"FA", "frozen", *copied} <= {row.feedback for row in rows}
    assert {circuit for _, circuit in by_task} >= {"error-neuron", "layered-pal", "sign-concordant"}


@pytest.mark.parametrize("mean, spread, beats", [(0.3, 0.1, True), (0.3, 0.4, False), (0.9, 0.1, False)])
def test_better_by_more_than_the_spread(mean, spread, beats):
    learned, random = (next(case for case in CASES if case.circuit == "error-neuron" and case.feedback == name)
                       for name in ("KP", "FA"))
    rows = [feedback_matters._row(learned, [mean - spread, mean + spread], 0.0),
            feedback_matters._row(random, [0.65, 0.75], 0.0)]
    found = feedback_matters._compared(rows)
    assert found[0]["beats_random"] is beats and found[1]["beats_random"] is None


def test_a_line_and_two_components_are_beside_them():
    assert 0 < feedback_matters._line() < 1e-4
    assert 30 < feedback_matters._linear("code")["mean"] < 50


@pytest.mark.parametrize("options", [{"tasks": ["chian"]}, {"models": ["pall"]}])
def test_unknown_words(options):
    with pytest.raises(CortexError, match="X182 unknown (task|model)"):
        feedback_matters.rows(options)
