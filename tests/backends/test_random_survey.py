"""Random circuits by number: interpreter and native give the same bits, and every feature of the language occurs.

CORTEXC_GRAPHS=10000 compares that many circuits as plain Python, CORTEXC_JITTED_GRAPHS=300 compiled ones;
CORTEXC_FIRST_GRAPH is the number of the first. `pytest -s` prints what became of them.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from random_graphs.choices import Kinds, RandomChoices
from random_graphs.circuits import random_circuit, random_setup
from random_graphs.expressions import WILD
from random_graphs.features import VALUES, features, language
from random_graphs.survey import kinds_of, survey

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.ir import CortexError
from cortexc.compiler.verify.mutation.campaign import plain_python

FIRST = int(os.environ.get("CORTEXC_FIRST_GRAPH", "0"))
GRAPHS = int(os.environ.get("CORTEXC_GRAPHS", "40"))
JITTED = int(os.environ.get("CORTEXC_JITTED_GRAPHS", "2"))
FEATURED = 200
"""Circuits among which every feature occurs."""


def said(seed: int) -> set[str]:
    graph, setup = random_circuit(RandomChoices(seed), kinds_of(seed))
    return features(graph, setup.protocol)


def test_every_feature_of_the_language_is_generated():
    found = set[str]().union(*map(said, range(FEATURED)))
    assert sorted(language() - found) == []
    assert sorted(found - language()) == [] and len(language()) > 200


def test_a_feature_that_no_circuit_has_is_missed(monkeypatch):
    monkeypatch.setitem(VALUES, "function", ("softsign", *VALUES["function"]))
    assert "function: softsign" in language() - said(0)


@pytest.mark.parametrize("wild", [False, True])
def test_tame_circuits_stay_finite_and_wild_ones_do_not(wild):
    kinds, finite = Kinds(words=WILD) if wild else Kinds(), []
    with plain_python():
        for seed in range(12):
            setup = random_setup(RandomChoices(seed), kinds)
            try:
                program = lower(setup.graph)
            except CortexError as error:
                assert error.code == "E501"
                continue
            run = Native(program, setup.protocol, setup.samples, list(setup.seeds), setup.noise)
            run.run()
            finite.append(bool(np.isfinite(run.memory).all()))
    assert len(finite) > 8 and (not all(finite)) if wild else all(finite), finite


def test_interpreter_and_native_have_the_same_bits():
    with plain_python():
        found = survey(range(FIRST, FIRST + GRAPHS))
    print(f"\n{found}")
    assert found.failures == []
    assert sum(count for what, count in found.counts.items() if what.endswith(": equal")) > GRAPHS / 2


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("CORTEXC_JIT") == "0", reason="kernels are not compiled")
def test_compiled_kernels_have_the_interpreters_bits():
    found = survey(range(FIRST, FIRST + JITTED), granularities=("network",))
    print(f"\n{found}")
    assert found.failures == []
    assert sum(count for what, count in found.counts.items() if what.endswith(": equal")) > JITTED / 2
