"""Quantities are read and set between the steps of a session, and what was set is a part of its checkpoint."""

import numpy as np
import pytest

from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir import CortexError

CIRCUIT = """
graph small
  gate learn
cell source
  parameter gain 1 = 1.5
  input drive
  state spike = 0
  state trace = 0
  send spike = where(gain * drive > 0.75, 1, 0)
  send trace = 0.5 * prev(trace) + prev(spike)
  message spike
cell unit
  port d @ d
  parameter tau ms = 4
  state v = 0.25
  receive v = prev(v) + dt * (d - prev(v)) / tau
  factor error = 1 - v
  send rate = prev(v)
  message rate
rule hebb
  parameter eta 1 = 0.125
  state e = 0
  update e = 0.75 * prev(e) + post.error * pre.trace
  increment eta * e
  optimiser low_pass(0.5)
rule plain
  parameter eta 1 = 0.0625
  increment eta * post.error * pre.trace
synapse plastic
  message spike
  port d
  rule hebb
  limits -8 8
synapse fused
  message spike
  port d
  rule plain
  sign non_negative
synapse feedback
  message rate
  port d
  connectivity masked
population A source 3
population B unit 2
population C unit 2
  tau = 2
projection W plastic A -> B gate=learn
projection V fused A -> C gate=learn
projection F feedback B -> C
output v = C.v
"""
SET = {"W.w": [[0.5, -1, 2], [0, 1, 3]], "V.w": np.full((2, 3), 0.75), "W.e": np.ones((2, 3)),
       "W.low_pass": np.full((2, 3), 0.25), "B.v": [1.0, -1.0], "A.trace": [3, 2, 1], "F.w": [[0, 2], [1, 0]],
       "W.eta": 0.5, "V.eta": 0.0, "B.tau": 8.0, "C.tau": [3.0, 5.0], "A.gain": 2}
RECORDED = ["B.v", "C.v", "W.w", "V.w", "A.spike"]
STEPS, WHEN = 40, 17


@pytest.fixture
def tables(tmp_path):
    generator = np.random.default_rng(8)
    (tmp_path / "small.ir").write_text(CIRCUIT)
    np.savez(tmp_path / "start.npz", **{
        "W.w": generator.uniform(-1, 1, (2, 3)), "V.w": generator.uniform(0, 1, (2, 3)),
        "F.w": np.array([[0, 0.5], [-0.5, 0]]), "F.mask": np.array([[0, 1], [1, 0]])})
    return {"model": {"circuit": str(tmp_path / "small.ir"), "arrays": str(tmp_path / "start.npz")},
            "data": {"inputs": {"A.drive": generator.uniform(0, 1, (STEPS, 3)).tolist()}},
            "run": {"backend": "native"}, "record": {"all": {"quantities": RECORDED, "every": 1}}}


def session_of(tables, folder=None, **overrides):
    return Session(load_experiment(tables, overrides), folder)


def records_of(session):
    return {name: session.records.rows("all", name) for name in RECORDED}


def equal(left, right):
    return set(left) == set(right) and all(np.array_equal(left[name], right[name]) for name in left)


def changed_in_the_middle(tables, names=tuple(SET), **overrides):
    with session_of(tables, **overrides) as session:
        session.step(WHEN)
        for name in names:
            session.set(name, SET[name])
            assert np.array_equal(session.get(name), np.broadcast_to(SET[name], session.get(name).shape))
        session.run()
        return records_of(session)


@pytest.mark.parametrize("backend", ["interpreter", "native"])
def test_the_rest_is_that_of_a_circuit_with_these_numbers(tables, tmp_path, backend):
    """The second half is a run of its own, of a text with the new parameters, from the states of the first half."""
    found = changed_in_the_middle(tables, **{"run.backend": backend})
    with session_of(tables, **{"run.backend": backend}) as session:
        session.run(WHEN)
        kept = {f"{owner}.{key}": session.get(f"{owner}.{key}") for owner, keys in {
            "A": ("spike", "trace"), "B": "v", "C": "v", "W": ("w", "e", "low_pass"), "V": "w", "F": "w"}.items()
            for key in keys}
        first = records_of(session)
    text = CIRCUIT.replace("population A source 3", "population A source 3\n  gain = 2").replace(
        "population B unit 2", "population B unit 2\n  tau = 8").replace(
        "V fused A -> C gate=learn", "V fused A -> C gate=learn\n  eta = 0").replace(
        "W plastic A -> B gate=learn", "W plastic A -> B gate=learn\n  eta = 0.5")
    (tmp_path / "second.ir").write_text(text)
    arrays = {**kept, **{name: SET[name] for name in SET if name in kept}, "C.tau": SET["C.tau"]}
    np.savez(tmp_path / "second.npz", **arrays, **{"F.mask": np.array([[0, 1], [1, 0]])})
    rest = {**tables, "model": {"circuit": str(tmp_path / "second.ir"), "arrays": str(tmp_path / "second.npz")},
            "data": {"inputs": {"A.drive": tables["data"]["inputs"]["A.drive"][WHEN:]}}}
    with session_of(rest, **{"run.backend": backend}) as session:
        session.run()
        second = records_of(session)
    assert equal(found, {name: np.concatenate([first[name], second[name]]) for name in RECORDED})


def test_backends_agree(tables):
    tables["run"]["seeds"] = [1, 2]
    assert equal(changed_in_the_middle(tables), changed_in_the_middle(tables, **{"run.backend": "interpreter"}))


@pytest.mark.lava
@pytest.mark.parametrize("granularity", ["network", "population"])
def test_on_lava_too(tables, granularity):
    found = changed_in_the_middle(tables, **{"run.backend": "lava", "run.granularity": granularity})
    assert equal(found, changed_in_the_middle(tables))


@pytest.mark.parametrize("backend", ["interpreter", "native"])
def test_setting_what_is_there_changes_nothing(tables, backend):
    with session_of(tables, **{"run.backend": backend}) as plain, session_of(tables, **{"run.backend": backend}) as session:
        plain.run()
        for _ in range(4):
            session.step(7)
            for name in SET:
                session.set(name, session.get(name))
        session.run()
        assert equal(records_of(session), records_of(plain))


@pytest.mark.parametrize("backend", ["interpreter", "native"])
@pytest.mark.parametrize("names", [("W.w", "B.v"), ("W.eta",), tuple(SET)])
def test_what_was_set_is_in_the_checkpoint(tables, tmp_path, backend, names):
    overrides = {"run.backend": backend}
    whole = changed_in_the_middle(tables, names, **overrides)
    with session_of(tables, tmp_path / "run", **overrides) as session:
        session.run(WHEN)
        for name in names:
            session.set(name, SET[name])
        session.step(3)
        session.checkpoint()
        session.step(5)
    with session_of(tables, tmp_path / "run", **overrides) as session:
        assert session.resume() == WHEN + 3
        assert session.changes == [[WHEN, name] for name in names]
        parameters = [name for name in names if name in ("W.eta", "C.tau")]
        assert all(np.array_equal(session.get(name), SET[name]) for name in parameters)
        session.run(4)
        session.checkpoint()
    with session_of(tables, tmp_path / "run", **overrides) as session:
        session.resume()
        session.run()
        assert equal(records_of(session), whole)


def test_results_say_what_was_set(tables):
    from cortexc.compiler.experiments.results import results

    with session_of(tables) as session:
        session.run(2)
        assert "set" not in results(session)
        session.set("W.eta", 1.0)
        assert results(session)["set"] == [[2, "W.eta"]]


def test_values_are_copies(tables):
    with session_of(tables) as session:
        before = {name: session.get(name) for name in SET}
        for name in SET:
            session.get(name)[...] = 7
        mine = np.ones((2, 3))
        session.set("W.w", mine)
        mine[:] = 5
        assert np.array_equal(session.get("W.w"), np.ones((2, 3)))
        assert all(np.array_equal(session.get(name), before[name]) for name in SET if name != "W.w")


@pytest.mark.parametrize("name, value, code, words", [
    ("W.v", 1, "X201", "Did you mean"), ("W.etta", 1, "X201", "'W.eta'"), ("W", 1, "X201", "known"),
    ("B.d", [1, 2], "X201", "known"), ("B.error", [1, 2], "X201", "known"), ("F.mask", [[0, 1], [1, 0]], "X201", "F.w"),
    ("W.w", [1, 2], "X203", "(2, 3)"), ("W.w", np.ones((3, 2)), "X203", "(2, 3)"), ("B.v", 1.0, "X203", "(2,)"),
    ("W.eta", [1, 2], "X203", "()"), ("B.tau", [1, 2, 3], "X203", "(2,)"), ("W.w", "text", "X203", "no array"),
    ("W.w", [[1, 2], [3]], "X203", "no array"), ("W.w", None, "X203", "no array"), ("W.eta", 1j, "X203", "no array"),
    ("W.w", np.full((2, 3), np.nan), "X204", "(0, 0)"), ("W.eta", np.inf, "X204", "finite"),
    ("W.w", np.full((2, 3), 9), "X204", "[-8"), ("V.w", np.full((2, 3), -1), "X204", "non_negative"),
    ("F.w", np.ones((2, 2)), "X204", "no synapse")])
def test_what_cannot_be_set_is_coded_and_changes_nothing(tables, name, value, code, words):
    with session_of(tables) as session, session_of(tables) as plain:
        session.run(3)
        with pytest.raises(CortexError) as caught:
            session.set(name, value)
        assert caught.value.code == code and words in str(caught.value)
        session.run()
        plain.run()
        assert equal(records_of(session), records_of(plain)) and session.changes == []


# ---- what passes have made of a circuit


def refused(session, name, value=None):
    with pytest.raises(CortexError) as caught:
        session.get(name) if value is None else session.set(name, value)
    assert caught.value.code == "X202"
    return str(caught.value)


FLOWING = """graph flowing
cell c
  parameter tau ms = 4
  parameter rate 1/ms = 1 / tau
  input drive
  state v = 1
  receive dv/dt = {flow}
  integrator {integrator}
population a c 1
output v = a.v
"""


@pytest.mark.parametrize("flow", ["(drive - v) / tau", "(drive - v) * rate"])
def test_what_an_exact_integrator_has_solved_with_is_not_set_without_effect(tmp_path, flow):
    for integrator, value in (("exact", None), ("euler", 0.75 ** 3 * 0.5), ("rk4", None)):
        (tmp_path / "c.ir").write_text(FLOWING.format(flow=flow, integrator=integrator))
        experiment = load_experiment({
            "model": {"circuit": str(tmp_path / "c.ir")}, "data": {"inputs": {"a.drive": [0.0]}},
            "protocol": {"task": "stream", "presentation_steps": 5}, "run": {"backend": "interpreter"}})
        with Session(experiment) as session:
            session.run(3)
            if integrator == "exact":
                assert "integrator 'exact'" in refused(session, "a.tau", 2.0)
                continue
            session.set("a.tau", 2.0)
            session.run(1)
            assert value is None or session.get("a.v") == pytest.approx([value])


def test_what_a_pass_has_removed_names_the_pass(tiny_classification):
    experiment = load_experiment(tiny_classification, {"run.seeds": [1]})
    with Session(experiment) as session:
        session.run(4)
        assert "eliminate-lookahead" in refused(session, "P0.u") and "record" in refused(session, "P0.u")
        assert "eliminate-lookahead" in refused(session, "P0.u", np.zeros(3))
        assert "eliminate-lookahead" in refused(session, "P0.tau", 0.5)
    kept = {"passes.disable": ["eliminate-lookahead"], "run.seeds": [1]}
    with Session(load_experiment(tiny_classification, kept)) as session:
        session.run(4)
        session.set("P0.u", session.get("P0.u") + 1)
        session.set("P0.tau", 0.5)
        assert session.get("P0.u").shape == session.get("P0.tau").shape == (3,)


def test_a_mirror_and_a_hoisted_projection_are_refused(tiny_classification):
    tiny_classification["model"] |= {"variant": "BP"}
    with Session(load_experiment(tiny_classification)) as session:
        assert "WPP_1.w" in refused(session, "BPP_0.w", session.get("BPP_0.w"))
        session.set("WPP_1.w", session.get("WPP_1.w"))
    stream = {"model": {"circuit": "pal", "layers": [40, 3, 2]}, "run": {"backend": "native"},
              "data": {"inputs": {"input": [0.5] * 40, "teacher": [1.0, 0.0]}}, "protocol": {"presentation_steps": 9}}
    with Session(load_experiment(stream)) as session:
        session.run(5)
        for name in ("WPP_0.w", "WPP_0.eta"):
            assert "hoist-constant-input" in refused(session, name, session.get(name))
        session.set("WPP_1.w", session.get("WPP_1.w"))


def test_integers_take_integers(tables, tmp_path):
    (tmp_path / "small.ir").write_text(CIRCUIT.replace("  rule hebb\n", "  rule plain\n"))
    with session_of(tables, **{"precision.weights": 8}) as session:
        session.run(3)
        session.set("B.v", session.get("B.v"))
        session.set("V.w", session.get("V.w"))
        for name in ("B.v", "V.w"):
            with pytest.raises(CortexError) as caught:
                session.set(name, session.get(name) * 0 + 1e-9)
            assert caught.value.code == "X204" and "multiples" in str(caught.value)
        assert "fixed point" in refused(session, "W.eta", 0.5)
