"""What a circuit becomes as ordinary Lava: its text, its names, and what is refused."""

import ast
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.process import AbstractProcess
from lava_in_threads import differences

import cortexc
import cortexc.lava
from cortexc.compiler.backends.lava.ordinary import circuit_module
from cortexc.compiler.backends.lava.ordinary.naming import LAVA
from cortexc.compiler.experiments.lava_circuits import compile_circuit, graph_of, module_of, prepared
from cortexc.compiler.ir import CortexError, parse_graph

LEAKY = """graph leaky
  dt 0.1
  gate learn
cell leaky
  port basal @ basal
  parameter tau ms = 5
  state v = 0
  receive drive = tanh(basal)
  receive v = prev(v) + dt * (drive - prev(v)) / tau @ soma
  message v late
rule hebb
  increment 0.01 * post.v * pre.v
  optimiser OPTIMISER
synapse lateral
  message v
  port basal
  rule hebb
population a leaky 3
projection W lateral a -> a gate=learn
"""


def leaky(optimiser="none", **arrays):
    return parse_graph(LEAKY.replace("OPTIMISER", optimiser)).with_(arrays={"W.w": np.eye(3), **arrays})


def test_the_model_reads_as_the_circuit():
    text = circuit_module(leaky()).text
    assert "        self.v[:] = self.v + dt * (drive - self.v) / self.tau\n" in text
    assert "        increment = 0.01 * self.post_v[:, None] * self.pre_v\n" in text
    assert 'a.v_out.connect(W.pre_v_in)\n' in text and "W.current_out.connect(a.basal_in)\n" in text


def test_the_module_needs_lava_and_numpy_alone():
    tree = ast.parse(circuit_module(graph_of(cortexc.load("pal_digits"))).text)
    roots = {name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
             for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])}
    assert roots == {"lava", "numpy", "math", "functools", "pathlib", "sys", "cortexc"}
    wanted = next(node for node in tree.body if isinstance(node, ast.Try))
    assert ast.unparse(wanted.body[0]) == "import cortexc.lava_procs.continuing" and len(wanted.handlers) == 1


def test_names_of_lava_are_known():
    class Model(PyLoihiProcessModel):
        pass

    found = {name for each in (Model(None), AbstractProcess()) for name in dir(each) if name[0] != "_"}
    assert found <= LAVA


HOSTILE = """graph hostile
  dt 0.1
  gate time_step
cell np
  port name @ run_spk
  parameter self_ 1 = 0.5
  parameter full 1 = 2
  input vars
  state u_in = 0
  state u = 0
  state u_before = 0.5
  state where_ = 1
  receive run_spk = name + vars * full
  receive u = prev(prev(u)) + dt * (run_spk - prev(u)) * self_
  receive u_before = prev(u) + gate.time_step
  receive u_in = prev(u_in) + dt * (name - prev(u_in))
  receive where_ = 0.5 * prev(where_) + Model
  receive Model = 2 * u
  factor weighted_sum = u - prev(u)
  message u late
rule w_
  parameter copy 1 = 0.1
  state mask_ = 0
  update mask_ = 0.9 * prev(mask_) + post.weighted_sum
  increment copy * mask_ * pre.u
synapse Circuit
  message u
  port name
  rule w_
population proc np 2
population input np 2
projection parts Circuit proc -> input gate=time_step
projection arrays Circuit input -> proc gate=time_step
"""


def test_names_of_the_module_and_of_lava_can_be_the_circuits():
    arrays = {name: np.array([[0.5, -0.25], [1.0, 0.75]]) for name in ("parts.w", "arrays.w")}
    found = differences(parse_graph(HOSTILE).with_(arrays=arrays), 12)
    assert found.wrong == [] and found.moved == 2


@pytest.mark.parametrize("graph, words", [
    (lambda: leaky().with_(populations=(replace(leaky().populations[0], size=0),), arrays={"W.w": np.zeros((0, 0))}),
     "no cells"),
    (lambda: parse_graph(LEAKY.replace("OPTIMISER", "none").replace("state v = 0", "state v = 0\n  state params = 0")
                         .replace("receive drive", "receive params = 2 * prev(params)\n  receive drive")
                         .replace(" a", " proc")).with_(arrays={"W.w": np.eye(3)}), "'proc_params', of 'proc'"),
])
def test_what_is_refused(graph, words):
    with pytest.raises(CortexError, match=words) as error:
        circuit_module(graph())
    assert error.value.code == "E531"


def test_stock_processes_take_one_sample():
    with pytest.raises(CortexError, match="1 seeds and 2 samples.*one seed and minibatches of 1") as error:
        circuit_module(leaky().with_(samples=2), stock=True)
    assert error.value.code == "E531"


def test_sources_gates_and_weights_are_checked():
    for code, call in (("X158", lambda: cortexc.lava.Circuit(3)), ("X101", lambda: cortexc.lava.Circuit("no_such")),
                       ("E273", lambda: cortexc.lava.Circuit(leaky(), gates={"lern": 1})),
                       ("X203", lambda: cortexc.lava.Circuit(leaky(), gates={"learn": "on"})),
                       ("X204", lambda: cortexc.lava.Circuit(leaky(), gates={"learn": np.nan})),
                       ("X203", lambda: cortexc.lava.Circuit(leaky(), seed="a")),
                       ("X203", lambda: cortexc.lava.Circuit(leaky(), seed=[])),
                       ("E278", lambda: cortexc.lava.Circuit(leaky().with_(seeds=2), seed=[1, 2, 3])),
                       ("X158", lambda: cortexc.lava.Circuit(leaky(), overrides=["run.seeds=[2]"])),
                       ("E243", lambda: cortexc.lava.Circuit("# mine\n" + LEAKY.replace("OPTIMISER", "none")))):
        with pytest.raises(CortexError) as error:
            call()
        assert error.value.code == code


def test_a_var_takes_no_value_of_another_size_or_shape():
    circuit = cortexc.lava.Circuit(leaky())
    for value in (np.eye(2), np.eye(4), [1, 2], [None] * 9):
        with pytest.raises(ValueError, match=r"'W_w' has shape \(3, 3\)"):
            circuit.W_w.set(value)
    batch = cortexc.lava.Circuit(leaky().with_(samples=2))
    with pytest.raises(ValueError, match=r"'a_v' has shape \(3, 2\); a value of shape \(2, 3\)"):
        batch.a_v.set(np.ones((2, 3)))


def test_a_circuit_has_vars_and_ports_by_name():
    circuit = cortexc.lava.Circuit(leaky(), gates={"learn": 1}, name="mine")
    assert circuit.populations["a"].v is circuit.a_v and circuit.projections["W"].w is circuit.W_w
    assert circuit.W_w.shape == (3, 3) and np.array_equal(circuit.W_w.get(), np.eye(3)) and circuit.name == "mine"
    assert {port.name for port in circuit.in_ports} == {"a_basal_in", "gate_learn_in"}
    assert {port.name for port in circuit.out_ports} == {"a_v_out"}
    assert circuit.gates["learn"].get() == 1.0
    circuit.gates["learn"].set(0)
    assert circuit.gates["learn"].get() == 0.0


def test_a_run_folder_of_several_seeds_gives_what_they_learnt(tmp_path):
    table = {"model.layers": [64, 4, 10], "run.seeds": [5, 6, 7], "run.backend": "interpreter"}
    cortexc.run(cortexc.load("pal_digits", table), tmp_path / "run", steps=20)
    learnt = cortexc.open_run(tmp_path / "run").arrays["WPP_0.w"]
    for seeds, rows in ((None, [0]), (9, [0]), ([6], [1]), ([7, 5], [2, 0])):
        w = cortexc.lava.Circuit(tmp_path / "run", seed=seeds).WPP_0_w.get()
        assert np.array_equal(w.reshape(4, 64, -1), np.moveaxis(learnt[rows], 0, -1))
    with pytest.raises(CortexError, match="seed 8 is not one of .*: 5, 6, 7") as error:
        cortexc.lava.Circuit(tmp_path / "run", seed=[5, 8])
    assert error.value.code == "X158"


def test_a_graph_is_loaded_once():
    assert module_of(prepared(leaky())) is module_of(prepared(leaky()))
    assert module_of(prepared(leaky())) is not module_of(prepared(leaky(**{"a.v": np.ones(3)})))


def test_compiled_folders(tmp_path):
    experiment = cortexc.load("pal_digits", ["model.layers=[5,4,3]"])
    manifest = compile_circuit(experiment, tmp_path / "pal")
    assert sorted(manifest["files"]) == ["arrays.npz", "network_lava.py", "source.ir"] and manifest["processes"] == 10
    assert json.loads((tmp_path / "pal/manifest.json").read_text()) == manifest
    (tmp_path / "pal/network_lava.py").write_text("edited")
    with pytest.raises(CortexError, match="edited"):
        compile_circuit(experiment, tmp_path / "pal")
    assert compile_circuit(experiment, tmp_path / "pal", force=True) == manifest


def test_one_of_several_seeds_is_told_of(tmp_path):
    several = cortexc.load("pal_digits", ["model.layers=[5,4,3]", "run.seeds=[7,8,9]"])
    for made in (lambda: compile_circuit(several, tmp_path / "pal"), lambda: cortexc.lava.Circuit(several),
                 lambda: cortexc.lava.Circuit(several, seed=8)):
        with pytest.warns(UserWarning, match="X218 .* 3 seeds; the circuit begins as the first one, 7, does"):
            made()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        cortexc.lava.Circuit(several, seed=[7, 8, 9])
        cortexc.lava.Circuit(several.with_run(seeds=[8]))


def test_noise_that_nobody_draws_is_told_of():
    """Of the authors' generators, where its gate is on."""
    one = ["run.seeds=[123]"]
    with pytest.warns(UserWarning, match="X217 noise .* is legacy.* P0_white_in") as told:
        circuit = cortexc.lava.Circuit("pal_fig4ab", gates={"noise": 1}, overrides=one)
    assert len(told) == 1 and circuit.P0_white_in
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        cortexc.lava.Circuit("pal_fig4ab", overrides=one)
        cortexc.lava.Circuit("pal_fig4ab", gates={"noise": 1}, overrides=[*one, "run.noise=counter"])
