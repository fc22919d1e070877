"""Random circuits, integers among them: Lava agrees with the interpreter to the bit, at every granularity.

CORTEXC_LAVA_GRAPHS=100 runs that many circuits at all granularities; by default each of a few runs at one.
"""

import os

import pytest
from random_graphs.survey import GRANULARITIES, survey

pytestmark = pytest.mark.lava
MANY = int(os.environ.get("CORTEXC_LAVA_GRAPHS", "0"))
FIRST = int(os.environ.get("CORTEXC_FIRST_GRAPH", "1000"))


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_lava_has_the_bits_of_the_interpreter(granularity, monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    place = GRANULARITIES.index(granularity)
    seeds = range(FIRST, FIRST + MANY) if MANY else range(FIRST + 5 * place, FIRST + 5 * place + 5)
    found = survey(seeds, "lava", (granularity,))
    print(f"\n{found}")
    assert found.failures == []
    assert found.counts[f"lava, {granularity}: equal"] > len(seeds) / 2


def test_compiled_kernels_on_lava():
    found = survey(range(FIRST, FIRST + 1), "lava", ("population",))
    assert found.failures == [] and found.counts["lava, population: equal"] == 1
