"""The starts of the PAL circuit: the numpy simulator's draws to the bit, and the GeNN-like start."""

import json
from pathlib import Path

import numpy as np
import pytest

from cortexc.compiler.ir import CortexError, verify
from cortexc.compiler.microcircuits.pal import Pal, build
from cortexc.compiler.microcircuits.pal_start import KINDS, legacy_start, zero_start

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
RANGES = {"WPP": (-1.0, 1.0), "WIP": (-0.5, 1.0), "BPP": (-2.0, 1.0), "BPI": (-1.0, 0.0)}


@pytest.mark.parametrize("variant", ["PAL", "FA", "BP"])
@pytest.mark.parametrize("layers", [(2, 3, 2), (5, 20, 10, 20, 5), (3, 2), (1, 1, 1)])
def test_legacy_start_is_the_reference_start_to_the_bit(layers, variant):
    torch_model = pytest.importorskip("protocols.drawn_pal")
    if len(layers) < 3:
        pytest.skip("the reference needs a hidden layer")
    ranges = {f"init_{kind}_range": RANGES[kind] for kind in KINDS}
    state = torch_model.initial_state(torch_model.PalParameters(layers, variant, **ranges), 123)
    arrays = legacy_start(Pal(layers, variant), 123, RANGES)
    fields = {"WPP": "forward", "WIP": "lateral", "BPP": "feedback", "BPI": "cancelling"}
    for name, array in arrays.items():
        kind, index = (name[0], int(name[1])) if name.endswith(".u") else (name[:3], int(name[4]))
        field = {"P": "pyramidal_potential", "I": "interneuron_potential", **fields}[kind]
        assert np.array_equal(getattr(state, field)[index][0].numpy(), array), name


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no recorded trajectories")
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("pal_[12]*.npz")), ids=lambda p: p.stem)
def test_legacy_start_is_the_recorded_one_to_the_bit(path):
    with np.load(path) as archive:
        recorded = {name: archive[name] for name in archive.files if name.startswith("init_")}
        options = json.loads(str(archive["params_json"]))
    circuit = Pal(tuple(options["layers"]), options["model_type"])
    arrays = legacy_start(circuit, 123, {kind: tuple(options[f"init_{kind}_range"]) for kind in KINDS})
    for name, array in arrays.items():
        theirs = f"init_{name[:-2]}" if name.endswith(".w") else f"init_u{name[0]}_{name[1]}"
        assert np.array_equal(recorded[theirs], array), name


def test_several_seeds_are_stacked():
    circuit = Pal((2, 3, 2))
    both = legacy_start(circuit, [4, 9])
    for index, seed in enumerate((4, 9)):
        for name, array in legacy_start(circuit, seed).items():
            assert np.array_equal(both[name][index], array)


def test_zero_start_draws_weights_only_in_their_ranges():
    arrays = zero_start(Pal((4, 30, 3)), 5)
    assert set(arrays) == {"WPP_0.w", "WPP_1.w", "WIP_0.w", "BPP_0.w", "BPI_0.w"}
    assert arrays["WPP_0.w"].shape == (30, 4) and arrays["BPP_0.w"].shape == (30, 3)
    assert 0.08 < np.abs(arrays["WPP_0.w"]).max() < 0.1 < 0.9 < np.abs(arrays["BPP_0.w"]).max() < 1
    assert np.array_equal(arrays["BPI_0.w"], -arrays["BPP_0.w"])
    assert np.array_equal(zero_start(Pal((4, 30, 3)), 5)["WPP_0.w"], arrays["WPP_0.w"])
    assert not np.array_equal(zero_start(Pal((4, 30, 3)), 6)["WPP_0.w"], arrays["WPP_0.w"])


def test_interneurons_copy_their_twins_in_the_self_predicting_state():
    arrays = legacy_start(Pal((2, 3, 4, 2)), 1)
    assert np.allclose(arrays["WIP_0.w"], 13 / 19 * arrays["WPP_1.w"], rtol=1e-14)
    assert np.allclose(arrays["WIP_1.w"], arrays["WPP_2.w"], rtol=1e-14)


@pytest.mark.parametrize("start", [legacy_start, zero_start])
def test_the_graph_takes_the_arrays(start):
    circuit = Pal((2, 3, 2), arrays=start(Pal((2, 3, 2)), 3))
    verify(build(circuit))
    verify(build(Pal((2, 3, 2), arrays=start(Pal((2, 3, 2)), [3, 4]))).with_(seeds=2))


@pytest.mark.parametrize("ranges, code", [({"WPB": (0, 1)}, "E304"), ({"WPP": (1, 0)}, "E305"),
                                          ({"WPP": (0, float("nan"))}, "E305")])
def test_wrong_ranges_are_coded(ranges, code):
    for start in (legacy_start, zero_start):
        with pytest.raises(CortexError) as caught:
            start(Pal((2, 3, 2)), 1, ranges)
        assert caught.value.code == code
