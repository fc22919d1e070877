"""protocol.reset: a presentation runs as if it were the first one, with the weights that the ones before have left."""

import re

import numpy as np
import pytest

from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir import CortexError

CIRCUIT = """
graph carry
  gate learn
cell spiking
  port d @ d
  parameter rest 1 = -0.25
  input drive
  state v = rest
  state spike = 0
  state trace = rest + 0.5
  send spike = where(prev(v) + 0.25 * prev(prev(v)) > 0.75, 1, 0)
  receive v = 0.75 * prev(v) * (1 - spike) + drive + d
  receive trace = 0.5 * prev(trace) + spike
  message spike
cell follower
  port d @ d
  state v = 0.5
  send rate = prev(v)
  receive dv/dt = d - v
  message rate
rule hebb
  parameter eta 1 = 0.125
  state e = 0.25
  update e = 0.5 * prev(e) + post.v * prev(pre.trace)
  increment eta * (e - 0.5 * prev(pre.spike) * prev(prev(post.v)))
synapse plastic
  message spike
  port d
  rule hebb
  limits -4 4
synapse feedback
  message rate
  port d
population A spiking 3
population B spiking 2
  rest = 0.5
population C follower 2
projection W plastic A -> B delay=3 gate=learn
projection V plastic B -> A delay=1 gate=learn
projection F plastic A -> C delay=2 gate=learn
projection R feedback C -> A delay=1
"""
QUANTITIES = ["A.v", "A.spike", "B.v", "B.trace", "C.v", "W.w", "V.w", "F.w", "W.e", "V.e", "F.e"]
CHUNK = 7


@pytest.fixture
def tables(tmp_path):
    """Four samples of seven steps; B.v starts from an array."""
    generator = np.random.default_rng(5)
    (tmp_path / "carry.ir").write_text(CIRCUIT)
    arrays = {"W.w": generator.uniform(-1, 1, (2, 3)), "V.w": generator.uniform(-1, 1, (3, 2)),
              "F.w": generator.uniform(-1, 1, (2, 3)), "R.w": generator.uniform(-1, 1, (3, 2)),
              "B.v": np.array([0.9, -0.3])}
    np.savez(tmp_path / "start.npz", **arrays)
    return {"model": {"circuit": str(tmp_path / "carry.ir"), "arrays": str(tmp_path / "start.npz")},
            "data": {"inputs": {"A.drive": generator.uniform(0, 1, (4, 3)).tolist(),
                                "B.drive": generator.uniform(0, 1, (4, 2)).tolist()}},
            "protocol": {"presentation_steps": CHUNK}, "run": {"backend": "interpreter"},
            "record": {"all": {"quantities": QUANTITIES, "every": 1}}}


def run(tables, **overrides):
    """Recordings by name, (steps, batch, ...)."""
    with Session(load_experiment(tables, overrides)) as session:
        session.run()
        return {name: session.records.rows("all", name) for name in tables["record"]["all"]["quantities"]}


def one_by_one(tables, tmp_path, kept, **overrides):
    """Each sample in a session of its own, which starts with the weights (and what else is `kept`) of the one before."""
    found, inputs = [], tables["data"]["inputs"]
    with np.load(tables["model"]["arrays"]) as archive:
        arrays = dict(archive)
    for index in range(4):
        np.savez(tmp_path / f"start_{index}.npz", **arrays)
        own = {**tables, "model": {**tables["model"], "arrays": str(tmp_path / f"start_{index}.npz")},
               "data": {"inputs": {name: [rows[index]] for name, rows in inputs.items()}}}
        found.append(run(own, **overrides))
        arrays |= {name: rows[-1, 0] for name, rows in found[-1].items() if name.endswith(kept)}
    return {name: np.concatenate([records[name] for records in found]) for name in QUANTITIES}


def same(left, right):
    return all(np.array_equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("backend", ["interpreter", "native"])
@pytest.mark.parametrize("reset, kept", [("states", (".w", ".e")), (["A", "B", "C"], (".w", ".e")),
                                         (["A", "B", "C", "W", "V.e", "F.e"], (".w",))])
def test_every_presentation_is_the_first_one(tables, tmp_path, backend, reset, kept):
    overrides = {"run.backend": backend}
    found = run(tables, **overrides, **{"protocol.reset": reset})
    assert same(found, one_by_one(tables, tmp_path, kept, **overrides))
    plain = run(tables, **overrides)
    assert not same(found, plain)
    assert all(np.array_equal(found[name][:CHUNK], plain[name][:CHUNK]) for name in QUANTITIES)


def test_all_backends_agree_and_minibatches_and_seeds_too(tables):
    tables["run"]["seeds"] = [1, 2]
    slow = run(tables, **{"protocol.reset": ["A", "B.v", "W.e"]})
    quick = run(tables, **{"protocol.reset": ["A", "B.v", "W.e"], "run.backend": "native"})
    assert same(slow, quick)


@pytest.mark.lava
def test_lava_with_a_process_per_population(tables):
    overrides = {"protocol.reset": ["A", "B.v", "W.e"]}
    slow = run(tables, **overrides)
    on_lava = run(tables, **overrides, **{"run.backend": "lava", "run.granularity": "population"})
    assert same(slow, on_lava)


def test_only_what_is_named_is_reset(tables):
    found = run(tables, **{"protocol.reset": ["B.v"], "protocol.train_gates": []})
    plain = run(tables, **{"protocol.train_gates": []})
    with Session(load_experiment(tables, {"protocol.reset": ["B.v"]})) as session:
        cells = {p.name: session.compiled.graph.cell_of(p.name).name for p in session.compiled.graph.populations}
    assert cells["A"] == cells["B"] and np.array_equal(found["A.v"][:CHUNK + 1], plain["A.v"][:CHUNK + 1])
    before = np.array([0.9, -0.3])  # the first step, at every depth
    fired = before + 0.25 * before > 0.75
    assert not np.array_equal(found["B.v"][CHUNK], plain["B.v"][CHUNK])
    assert np.array_equal(found["B.trace"][CHUNK, 0], 0.5 * found["B.trace"][CHUNK - 1, 0] + fired)


def test_off_changes_nothing(tables):
    experiment = load_experiment(tables)
    for off in ("none", []):
        same_experiment = load_experiment(tables, {"protocol.reset": off})
        assert same_experiment.sha256() == experiment.sha256()
        assert same(run(tables), run(tables, **{"protocol.reset": off}))
    assert load_experiment(tables, {"protocol.reset": "states"}).sha256() != experiment.sha256()


def test_a_run_resumes_in_the_middle_of_a_presentation(tables, tmp_path):
    experiment = load_experiment(tables, {"protocol.reset": "states", "run.backend": "native"})
    with Session(experiment) as session:
        session.run()
        whole = session.runner.state()
    for _ in range(2):
        with Session(experiment, tmp_path / "run") as session:
            if (tmp_path / "run").is_dir() and any((tmp_path / "run").iterdir()):
                session.resume()
            session.run(CHUNK + 2)
            session.checkpoint()
    with Session(experiment, tmp_path / "run") as session:
        assert session.resume() == 2 * CHUNK + 4
        session.run()
        assert all(np.array_equal(value, whole[name]) for name, value in session.runner.state().items())


def test_a_training_run_with_hoisting_resets_too(tiny_classification):
    tiny_classification["run"]["seeds"] = [1]
    plain = {"passes.disable": ["hoist-constant-input", "fuse-update", "eliminate-lookahead"]}
    rows = []
    for overrides in ({}, plain):
        experiment = load_experiment(tiny_classification, {"protocol.reset": "states", **overrides})
        with Session(experiment) as session:
            start = session.runner.value("WPP_0.w")
            session.run()
            rows.append({name: session.runner.value(name) for name in ("WPP_0.w", "WPP_1.w", "BPP_0.w")})
    differences = [np.abs(rows[0][name] - rows[1][name]).max() for name in rows[0]]
    assert max(differences) < 1e-12 and not np.array_equal(rows[0]["WPP_0.w"], start)


@pytest.mark.parametrize("reset, code, words", [
    (["B.w"], "X122", "Did you mean 'B.v'?"), (["D"], "X122", "known: A"), (["R"], "X122", "known"),
    ("B.v", "X104", "protocol.reset"), (True, "X104", "protocol.reset")])
def test_what_cannot_be_reset_is_coded(tables, reset, code, words):
    with pytest.raises(CortexError) as caught:
        Session(load_experiment(tables, {"protocol.reset": reset}))
    assert caught.value.code == code and words in str(caught.value)


def test_synapses_that_start_from_an_array_are_refused(tables, tmp_path):
    with np.load(tables["model"]["arrays"]) as archive:
        np.savez(tmp_path / "more.npz", **{"W.e": np.ones((2, 3)), **dict(archive)})
    with pytest.raises(CortexError) as caught:
        Session(load_experiment(tables, {"protocol.reset": ["W"], "model.arrays": str(tmp_path / "more.npz")}))
    assert caught.value.code == "X122" and "W.e" in str(caught.value)


def test_tasks_whose_trials_go_on_over_presentations_have_no_reset():
    for name in ("match_to_sample", "cartpole"):
        with pytest.raises(CortexError) as caught:
            Session(load_experiment(name, {"protocol.reset": "states", "run.backend": "native"}))
        assert caught.value.code == "X103"


def test_integers_start_from_rounded_values(tables, tmp_path):
    """The first step of every presentation has the integers of the first step of the run."""
    stateless = re.sub(r"  state e .*\n  update .*\n", "", CIRCUIT).replace("(e - ", "(post.v * prev(pre.trace) - ")
    (tmp_path / "carry.ir").write_text(stateless)
    tables["record"]["all"]["quantities"] = QUANTITIES[:-3]
    overrides = {"protocol.reset": "states", "precision.weights": 8}
    found, native = (run(tables, **overrides, **{"run.backend": backend}) for backend in ("interpreter", "native"))
    assert same(found, native) and not np.array_equal(found["W.w"][0], found["W.w"][-1])
    overrides["protocol.train_gates"] = []
    tables["data"]["inputs"] = {name: [rows[0]] * 4 for name, rows in tables["data"]["inputs"].items()}
    repeated = run(tables, **overrides)
    assert all(np.array_equal(repeated[name][:CHUNK], repeated[name][k * CHUNK:(k + 1) * CHUNK])
               for name in repeated for k in range(1, 4))
