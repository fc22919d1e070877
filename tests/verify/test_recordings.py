"""Recordings of either format: everything that is wrong with a file has a code and a sentence that says what."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_graphs.choices import Kinds, RandomChoices
from random_graphs.circuits import random_setup

from cortexc.compiler.ir import CortexError, show_graph
from cortexc.compiler.microcircuits.pal import Pal
from cortexc.compiler.verify import load_recording, record_trajectory, verify_golden, verify_recording
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.recorded.readers import published_recording

oracle = pytest.importorskip("cortexc.compiler.verify.oracles.pal")
pytest.importorskip("torch")

BASE = Pal((2, 3, 2), eta_fw=(2.0, 0.5), eta_bw=(20.0,), eta_IP=(10.0,), eta_PI=(0.5,), alpha=(1e-3,), sigma=(0.05,))
FOLDER = Path(__file__).parents[2] / ".." / "shared" / "golden"


@pytest.fixture(autouse=True)
def kernels_as_plain_python():
    with plain_python():
        yield


@pytest.fixture(scope="module")
def base() -> dict[str, np.ndarray]:
    return oracle.reference_arrays(BASE, 30)


def with_options(arrays, **changes) -> dict[str, np.ndarray]:
    options = json.loads(str(arrays["params_json"])) | changes
    return arrays | {"params_json": np.array(json.dumps({k: v for k, v in options.items() if v is not ...}))}


# ---- every file of the format


@pytest.mark.parametrize("circuit, high_pass", [
    (replace(BASE, layers=(3, 4, 3, 2), activation=("tanh", "logistic", "soft_relu"), eta_fw=(2.0, 0.5, 0.3),
             eta_bw=(20.0, 10.0), alpha=(1e-3, 1e-4), sigma=(0.05, 0.02)), True),
    (replace(BASE, layers=(1, 2, 5, 3, 1, 4), activation=("relu",), eta_fw=(1.0,)), True),
    (replace(BASE, activation=("hard_sigmoid",), taur=0.3, dt=0.05, tau_xi=0.4, tau_HP=0.2, tau_LO=30.0), True),
    (replace(BASE, gl=0.05, gbas=0.2, gapi=0.01, gden=0.3, gnI=0.02, gntgt=0.11), True),
    (replace(BASE, use_activation=False, activation=("linear",)), True),
    (replace(BASE, low_pass=False), True),
    (BASE, False),
    (replace(BASE, variant="FA", layers=(2, 3, 4, 2), eta_fw=(1.0,)), True),
    (replace(BASE, variant="BP", layers=(2, 3, 4, 5), eta_fw=(1.0,), activation=("tanh",)), True)])
@pytest.mark.slow
@pytest.mark.parametrize("on", ["reference", "interpreter", "native"])
def test_other_circuits(circuit, high_pass, on):
    arrays = oracle.reference_arrays(circuit, 40, seed=7, high_pass=high_pass)
    result = verify_recording(published_recording("other", arrays), on)
    assert result.passed, result.reasons
    assert result.evidence == "independent-reference" and not result.not_compared


def test_options_that_act_elsewhere_are_ignored(base):
    changed = with_options(base, rec_WPP=True, init_teacher_WPP_range=[-1, 1], task="fw_bw", copy_teacher_weights=True,
                           random_seed=[123], Tpres=0.5, noise_deg=30, dtxi=0.01, noise_type="OU")
    assert verify_recording(published_recording("x", changed), "native").passed


def test_longer_lists_are_read_by_layer(base):
    assert verify_recording(published_recording("x", with_options(base, alpha=[1e-3, 5.0, 5.0])), "native").passed


def test_a_start_within_a_run(base):
    """First values other than the circuit's own are bound; the compartments of the last step are such."""
    row = 10
    later = {k: v[row + 1:] if len(v) == 30 else v for k, v in base.items() if v.ndim} | {
        k: v for k, v in base.items() if not v.ndim}
    later |= {f"init_{k}": v[row] for k, v in base.items() if v.ndim and f"init_{k}" in base}
    later = {k: v for k, v in later.items() if "_old_" not in k or not k.startswith("init_")}
    recording = published_recording("later", later)
    assert {"P0.rate", "P0.xi", "WPP_0.low_pass", "P0.basal_potential"} <= set(recording.setup.graph.arrays)
    moving = later | {f"init_{k}_old_{i}": base[f"{k}_old_{i}"][row] for k in ("uP",) for i in range(2)}
    with pytest.raises(CortexError, match="V115.*starts in motion.*init_uP_old_0") as error:
        published_recording("later", moving)
    assert error.value.code == "V115"


# ---- what is wrong with a file


def broken(base, change) -> dict[str, np.ndarray]:
    arrays = {k: np.array(v) for k, v in base.items()}
    change(arrays)
    return arrays


def put(name, index, value):
    def change(arrays):
        arrays[name][index] = value
    return change


def drop(*names):
    return lambda arrays: [arrays.pop(name) for name in names]


def become(name, value):
    return lambda arrays: arrays.update({name: value})


@pytest.mark.parametrize("code, words, change", [
    ("V108", "'r0' is missing", drop("r0")),
    ("V108", "'flags' is missing", drop("flags")),
    ("V108", r"'u_tgt' is missing.*\(T|'u_tgt' is missing", drop("u_tgt")),
    ("V108", "'init_WIP_0' is missing", drop("init_WIP_0")),
    ("V108", "'white_0' is missing", drop("white_0")),
    ("V108", "'uP_breve_1' is missing, while uP_breve_0 is there", drop("uP_breve_1")),
    ("V109", r"'WPP_0' has shape \(30, 2, 3\), expected \(30, 3, 2\)", become("WPP_0", np.zeros((30, 2, 3)))),
    ("V109", r"'vden_0' has shape \(29, 2\)", become("vden_0", np.zeros((29, 2)))),
    ("V109", r"'r0' has shape \(30, 3\)", become("r0", np.zeros((30, 3)))),
    ("V110", r"'WPP_0' is nan at index \(4, 1, 0\)", put("WPP_0", (4, 1, 0), np.nan)),
    ("V110", r"'u_tgt' is inf at index", put("u_tgt", (0, 0), np.inf)),
    ("V110", "'init_uP_0' is nan", put("init_uP_0", 0, np.nan)),
    ("V111", "'uP_0' is of kind float32", become("uP_0", np.zeros((30, 3), np.float32))),
    ("V111", "'uP_0' is of kind <U1", become("uP_0", np.full((30, 3), "a"))),
    ("V111", "'params_json' is of kind float64", become("params_json", np.zeros(3))),
    ("V104", "no JSON", become("params_json", np.array("{"))),
    ("V104", "not list", become("params_json", np.array("[1]"))),
    ("V113", "no rows", become("r0", np.zeros((0, 2)))),
    ("V114", "row 3 of 'u_tgt'", lambda a: put("u_tgt", slice(None), 1.0)(a) or put("u_tgt", (3, 1), np.nan)(a))])
def test_bad_arrays(base, code, words, change):
    with pytest.raises(CortexError, match=words) as error:
        published_recording("broken", broken(base, change))
    assert error.value.code == code


@pytest.mark.parametrize("code, words, options", [
    ("V105", "unknown option 'gbass'.*Did you mean 'gbas'", dict(gbass=1.0)),
    ("V106", "noise_mode = 'uP_adaptive' is not modelled; only 'const'", dict(noise_mode="uP_adaptive")),
    ("V106", "bw_connection_mode = 'skip'", dict(bw_connection_mode="skip")),
    ("V106", "inter_low_pass = True", dict(inter_low_pass=True)),
    ("V106", "dtxi = 0.1 is not modelled", dict(dtxi=0.1)),
    ("V106", "gl = 'a' must be a finite number", dict(gl="a")),
    ("V106", "dt = 0 must be a finite positive", dict(dt=0)),
    ("V106", r"layers = \[2\] must list", dict(layers=[2])),
    ("V106", "layers = '2-3-2'", dict(layers="2-3-2")),
    ("V106", r"eta_fw has 3 entries|eta_fw", dict(eta_fw=[1.0, "x"])),
    ("V106", "eta_fw has 2 entries.*expected 1 or 3", dict(eta_fw=[1.0, 2.0], layers=[2, 3, 2, 2])),
    ("V106", "unknown activation 'sin'", dict(activation="sin")),
    ("V106", "pyr_hi_pass = 'no' must be true or false", dict(pyr_hi_pass="no")),
    ("V106", "unknown option model_type 'PLA'.*PAL", dict(model_type="PLA")),
    ("V107", "lack eta_fw, alpha", dict(eta_fw=..., alpha=...)),
    ("V103", "unknown circuit of 'broken' 'mine'", dict(mc_model="mine"))])
def test_bad_options(base, code, words, options):
    with pytest.raises(CortexError, match=words) as error:
        published_recording("broken", with_options(base, **options))
    assert error.value.code == code


def test_bad_files(tmp_path, base):
    def code(path) -> str:
        with pytest.raises(CortexError) as error:
            load_recording(path)
        assert str(path.name) in str(error.value)
        return error.value.code

    whole, cut, text, single, other = (tmp_path / n for n in ("a.npz", "cut.npz", "t.npz", "s.npy", "o.npz"))
    np.savez(whole, **base)
    cut.write_bytes(whole.read_bytes()[:-2000])
    text.write_text("no archive")
    np.save(single, np.zeros(3))
    np.savez(other, a=np.zeros(3))
    flipped = bytearray(whole.read_bytes())
    flipped[len(flipped) // 2] ^= 255
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(bytes(flipped))
    objects = tmp_path / "objects.npz"
    np.savez(objects, **(base | {"uP_0": np.array([None, 1])}))
    assert [code(p) for p in (tmp_path / "none.npz", tmp_path, cut, text, damaged)] == ["V101"] * 5
    assert [code(p) for p in (single, other, objects)] == ["V102", "V102", "V111"]


def test_unknown_side(tmp_path, base):
    np.savez(tmp_path / "a.npz", **base)
    with pytest.raises(CortexError, match="V120 unknown backend 'nativ'.*Did you mean 'native'"):
        verify_golden(tmp_path / "a.npz", on="nativ")
    with pytest.raises(CortexError, match="granularity 'cell'"):
        verify_golden(tmp_path / "a.npz", granularity="cell")


# ---- recordings of one's own circuit


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("recorded_on, on", [("interpreter", "native"), ("native", "interpreter")])
def test_own_circuits_are_recorded_and_verified(tmp_path, seed, recorded_on, on):
    setup = random_setup(RandomChoices(300 + seed), Kinds(fused=False))
    record_trajectory(tmp_path / "own.npz", setup, on=recorded_on)
    result = verify_golden(tmp_path / "own.npz", on)
    assert result.passed, result.reasons
    assert result.evidence == recorded_on and result.max_abs_error == 0
    assert len(result.variables) > 3 and result.steps == setup.steps


@pytest.fixture
def own(tmp_path) -> tuple[Path, dict[str, np.ndarray]]:
    """A recording of a small circuit of one's own, as plain arrays."""
    path = tmp_path / "own.npz"
    record_trajectory(path, random_setup(RandomChoices(23), Kinds(fused=False)))
    with np.load(path) as file:
        return path, dict(file)


def test_a_users_own_recording_names_its_evidence(own):
    path, arrays = own
    del arrays["evidence"]
    np.savez(path, **arrays, comment=np.array("mine"))
    result = verify_golden(path)
    assert result.passed and result.evidence == "user-recording" and result.not_compared == ("comment",)


def test_a_changed_number_of_an_own_recording_is_found(own):
    path, arrays = own
    name = next(k for k in arrays if k.endswith(".current"))
    arrays[name][(7, *(0,) * (arrays[name].ndim - 1))] += 1e-6
    np.savez(path, **arrays)
    where = verify_golden(path).first_divergence
    assert (where.variable, where.step) == (name, 7)


def test_own_recordings_that_are_wrong(own):
    path, arrays = own
    state = next(k for k in arrays if k.endswith(".current"))
    inputs = next(k for k in arrays if k.endswith(".x"))

    def code(**changes) -> str:
        np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})
        with pytest.raises(CortexError) as error:
            verify_golden(path)
        return error.value.code

    assert code(**{"graph.ir": np.array("grap x")}) == "E101"
    assert code(**{"n0.nothing": arrays[state]}) == "V112"
    assert code(**{"gate.nothing": arrays["gate.ga"]}) == "V112"
    assert code(**{state: arrays[state][:-1]}) == "V113"
    assert code(**{inputs: None}) == "V108"
    assert code(**{state: np.zeros((*arrays[state].shape, 2))}) == "V109"
    assert code(**{state: np.full_like(arrays[state], np.nan)}) == "V110"
    assert pytest.raises(CortexError, verify_golden, _restored(path, arrays), "reference").value.code == "V122"


def _restored(path, arrays) -> Path:
    np.savez(path, **arrays)
    return path


def test_the_text_of_the_graph_is_in_the_file(own):
    _, arrays = own
    setup = random_setup(RandomChoices(23), Kinds(fused=False))
    assert str(arrays["graph.ir"]) == show_graph(setup.graph)
