"""The user's own circuits: IR text, Python functions, arrays, and what can be wrong with them."""

import numpy as np
import pytest

from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.export import export_run
from cortexc.compiler.experiments.lava_circuits import experiment_of
from cortexc.compiler.experiments.session import Session, run_experiment
from cortexc.compiler.ir import CortexError

TEXT = """graph mine
  dt 0.1
  gate learn
cell source
  input value
  state rate = 0
  send rate = value
  message rate
cell unit
  port drive
  parameter tau ms = 1
  state u = 0
  send rate = tanh(prev(u))
  receive u = prev(u) + dt * (drive - prev(u)) / tau
  message rate
rule hebb
  parameter eta 1/ms = 0.1
  increment dt * eta * post.u * prev(pre.rate)
synapse forward
  message rate
  port drive
  rule hebb
population stimulus source 2
population cells unit 3
projection W forward stimulus -> cells gate=learn
output rate = cells.rate
"""

PYTHON = '''
import numpy as np
from cortexc.compiler.ir import parse_graph

TEXT = """{text}"""

def build(scale=1.0, seed=0):
    generator = np.random.default_rng(seed)
    return parse_graph(TEXT).with_(arrays={{"W.w": generator.normal(0, scale, (3, 2))}})

def fixed():
    return parse_graph(TEXT).with_(arrays={{"W.w": np.ones((3, 2))}})

def broken():
    return 1 / 0

def number(size):
    return size
'''


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.ir").write_text(TEXT)
    (tmp_path / "mine.py").write_text(PYTHON.format(text=TEXT))
    (tmp_path / "bad.py").write_text("def build(:\n")
    np.savez(tmp_path / "w.npz", **{"W.w": np.ones((3, 2))})
    return tmp_path


def tables(circuit, **model):
    return {"model": {"circuit": str(circuit), **model}, "run": {"backend": "native"}, "protocol": {"epochs": 3},
            "data": {"inputs": {"stimulus": [[1.0, 0.0], [0.0, 1.0]]}}}


def test_an_ir_file_with_arrays_is_the_same_as_a_function(mine):
    text = run_experiment(load_experiment(tables(mine / "mine.ir", arrays=str(mine / "w.npz"))))
    function = run_experiment(load_experiment(tables(f"{mine / 'mine.py'}:fixed")))
    assert text["weights_sha256"] == function["weights_sha256"] and text["steps"] == 6


def test_a_function_may_return_a_network(mine):
    (mine / "net.py").write_text("import cortexc as cx\n\ndef build():\n    net = cx.Network()\n    net.input('stimulus', 2)\n    return net\n")
    run = run_experiment(load_experiment(tables(f"{mine / 'net.py'}:build"), {"data.inputs": {"stimulus.value": [[1.0, 0.0]]}}))
    assert run["circuit"] == "network"


def test_every_seed_builds_its_own_arrays(mine):
    both = run_experiment(load_experiment(tables(f"{mine / 'mine.py'}:build", scale=0.3), {"run.seeds": [4, 5]}))
    alone = run_experiment(load_experiment(tables(f"{mine / 'mine.py'}:build", scale=0.3), {"run.seeds": [5]}))
    assert alone["weights_sha256"] == both["seeds"][1]["weights_sha256"] != both["seeds"][0]["weights_sha256"]


def test_shared_weights_become_one_copy_per_seed(mine):
    with Session(load_experiment(tables(f"{mine / 'mine.py'}:fixed"), {"run.seeds": [4, 5]})) as session:
        session.run()
        weights = session.runner.value("W.w")
    assert weights.shape == (2, 3, 2) and np.array_equal(weights[0], weights[1]) and not np.all(weights == 1)
    alone = run_experiment(load_experiment(tables(f"{mine / 'mine.py'}:fixed")))
    with Session(load_experiment(tables(f"{mine / 'mine.py'}:fixed"), {"run.seeds": [4, 5]})) as session:
        session.run()
        from cortexc.compiler.experiments.results import results
        assert results(session)["seeds"][0]["weights_sha256"] == alone["weights_sha256"]


def test_the_user_data_reach_the_circuit_and_the_output_is_recorded(mine, tmp_path):
    run_experiment(load_experiment(tables(mine / "mine.ir", arrays=str(mine / "w.npz"))), tmp_path / "run")
    with np.load(tmp_path / "run" / "records.npz") as records:
        assert records["output/cells.rate"].shape == (6, 1, 3)


@pytest.mark.parametrize("use", [lambda folder: export_run(folder, "lava"), experiment_of])
@pytest.mark.parametrize("old, new", [("eta 1/ms = 0.1", "eta 1/ms = 0.2"), ("(0, scale", "(1, scale")])
def test_what_was_learnt_stays_with_the_circuit_that_learnt_it(use, old, new, mine):
    circuit, text = mine / "mine.py", (mine / "mine.py").read_text()
    run_experiment(load_experiment(tables(f"{circuit}:build")), mine / "run")
    circuit.write_text(text.replace(old, new))
    with pytest.raises(CortexError, match="X143"):
        use(mine / "run")
    circuit.write_text(text)
    assert use(mine / "run")


@pytest.mark.parametrize("circuit, options, code, words", [
    ("nothing.ir", {}, "X110", "cannot read circuit"), ("nothing.py:build", {}, "X110", "cannot read circuit"),
    ("mine.py:biuld", {}, "X113", "Did you mean 'build'?"), ("bad.py:build", {}, "X111", "line 1"),
    ("mine.py:broken", {}, "X111", "ZeroDivisionError"), ("mine.py:number", {"size": 3}, "X111", "not a Graph"),
    ("mine.py:number", {}, "X112", "model.size"), ("mine.py:build", {"seed": 3}, "X112", "run.seeds = [3]"), ("mine.py:build", {"scal": 3}, "X112", "Did you mean 'scale'?"),
    ("mine.ir", {}, "E243", "W"), ("mine.ir", {"arrays": "nothing.npz"}, "X114", "nothing.npz"),
    ("mine.ir", {"arrays": "mine.py"}, "X114", "mine.py")])
def test_mistakes_are_coded(mine, circuit, options, code, words):
    if "arrays" in options:
        options = {"arrays": str(mine / options["arrays"])}
    with pytest.raises(CortexError) as caught:
        Session(load_experiment(tables(mine / circuit, **options)))
    assert caught.value.code == code and words in str(caught.value)


def test_errors_in_the_text_name_the_line(mine):
    (mine / "typo.ir").write_text(TEXT.replace("receive u", "recieve u"))
    with pytest.raises(CortexError) as caught:
        Session(load_experiment(tables(mine / "typo.ir")))
    assert caught.value.code == "E101" and "line 14" in str(caught.value)


def test_an_option_that_an_ir_file_cannot_take(mine):
    with pytest.raises(CortexError) as caught:
        Session(load_experiment(tables(mine / "mine.ir", eta=3)))
    assert caught.value.code == "X112"


def test_what_has_no_lowering_runs_on_the_interpreter(mine):
    text = TEXT.replace("increment dt", "state held = 0\n  update held = 0.5 * prev(held) + pre.rate\n  increment held * dt").replace(
        "gate learn\n", "batch seeds 1 samples 2\n  gate learn\n", 1)
    (mine / "held.ir").write_text(text)
    native = load_experiment(tables(mine / "held.ir", arrays=str(mine / "w.npz")))
    with pytest.raises(CortexError) as caught:
        Session(native)
    assert caught.value.code == "E503"
    assert run_experiment(native.with_run(backend="interpreter"))["completed"]
