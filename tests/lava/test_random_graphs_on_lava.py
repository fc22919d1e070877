"""Random circuits: Lava agrees with the interpreter to the bit, at every granularity."""

import pytest

from compiler.verify.random_graphs import RandomChoices, random_setup
from compiler.verify.verification import verify_setup

pytestmark = pytest.mark.lava


@pytest.mark.parametrize("seed", range(24))
def test_lava_has_the_bits_of_the_interpreter(seed, monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0" if seed >= 2 else "1")
    granularity = ("population", "area", "network")[seed % 3]
    setup = random_setup(RandomChoices(1000 + seed), steps=12, fused=granularity == "network")
    result = verify_setup(setup, "lava", granularity, "interpreter", setup.steps)
    assert result.first_divergence is None and result.max_abs_error == 0.0 and result.variables, result.reasons
