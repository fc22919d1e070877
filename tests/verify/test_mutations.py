"""The verifier finds small mistakes: a sample of all mutants of the PAL circuit against a few of the recordings."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cortexc.compiler.ir import CortexError, parse_graph, problems, show_graph
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.verify import Setup, load_recording, record_trajectory
from cortexc.compiler.verify.mutation.campaign import Score, mutation_score, plain_python, rehearsals, rows
from cortexc.compiler.verify.mutation.equivalence import still_the_same
from cortexc.compiler.verify.mutation.mutants import OPERATORS, mutants

FOLDER = Path(os.environ.get("CORTEXC_GOLDEN", Path(__file__).parents[2] / ".." / "shared" / "golden"))
SAMPLE = 100

CIRCUIT = """
graph pair
  dt 0.1
  gate learn
cell source
  input value
  state rate = 0
  send rate = value
  message rate
cell unit
  port excitation
  port inhibition
  parameter tau ms
  state u = 0.5
  state rate = tanh(u)
  send rate = tanh(prev(u))
  receive u = prev(u) + dt * (excitation - inhibition - prev(u)) / tau
  message rate
rule hebb
  parameter eta 1/ms
  state trace = 0
  update trace = 0.9 * prev(trace) + pre.rate
  increment dt * eta * post.u * trace - 0.01 * w
  optimiser low_pass(0.1)
synapse up
  message rate
  port excitation
  rule hebb
  limits -0.3 0.3
synapse back
  message rate
  port inhibition
  sign non_negative
population input source 2
population a unit 2
  tau = 1
population b unit 2
  tau = 2
projection W up input -> a gate=learn
  eta = 2
projection V up a -> b delay=2 gate=learn
  eta = 1
projection B back b -> a
mirror B = V : transpose
"""


def published(*names: str) -> list[Path]:
    paths = [FOLDER / f"pal_{name}.npz" for name in names]
    if not all(path.exists() for path in paths):
        pytest.skip(f"the recordings in {FOLDER} are absent")
    return paths


@pytest.fixture(scope="module")
def score() -> Score:
    pytest.importorskip("torch")
    paths = published("232_fw_bw_noise", "232_fw_bw_FA", "232_fw_bw_BP", "232_bw_only_taur0")
    return mutation_score([*paths, *rehearsals("pal", 60)], SAMPLE, seed=1)


@pytest.mark.slow
def test_a_sample_of_mutants_is_found(score):
    assert score.total == SAMPLE and not score.raised
    assert score.share >= 0.97, score.survivors
    unexplained = {d: why for d, why in score.survivors.items() if "equals" not in why}
    assert unexplained == {}


@pytest.mark.slow
def test_few_mutants_are_invalid_or_equivalent(score):
    assert len(score.killed) > 0.7 * SAMPLE
    assert all(code.startswith("E2") for code in score.invalid.values())


@pytest.mark.slow
def test_rows_add_up(score):
    *places, everything = score.as_rows()
    assert everything["mutants"] == sum(r["mutants"] for r in places) == SAMPLE
    assert everything["killed"] == len(score.killed) and everything["share_killed"] == score.share


# ---- operators


@pytest.fixture
def graph():
    rng = np.random.default_rng(0)
    arrays = {f"{name}.w": rng.uniform(0, 0.3, (2, 2)) for name in "WVB"}
    return parse_graph(CIRCUIT).with_(arrays=arrays)


def test_operators_reach_every_kind_of_site(graph):
    found = dict(mutants(graph))
    text = "\n".join(found)
    for expected in (
            "cell unit: u = prev(u) + dt * (excitation + inhibition - prev(u)) / tau",
            "cell unit: u = prev(u) + dt * (inhibition - inhibition - prev(u)) / tau",
            "cell unit: u = prev(prev(u)) + dt * (excitation - inhibition - prev(u)) / tau",
            "cell unit: u = prev(u)", "cell unit: rate = tanh(u)", "cell unit: rate = prev(u)",
            "cell unit: state u = 1", "rule hebb: increment dt * eta * post.u * trace",
            "rule hebb: increment dt * eta * prev(post.u) * trace - 0.01 * w", "rule hebb: no optimiser",
            "rule hebb: trace = 1.8 * prev(trace) + pre.rate", "rule hebb: low_pass(0.2)", "dt * 1.001",
            "population a: tau * 1.001", "projection W: eta * 2.0", "projection V: delay + 1", "projection W: gate None",
            "projection W: from a", "synapse up: port inhibition", "synapse up: no limits",
            "weights of W and V swapped", "mirror B: without transpose", "mirror B: negated", "mirror B missing",
            "projection B missing", "array W.w * 1.001"):
        assert expected in text, expected


def test_every_mutant_differs_and_leaves_the_graph_alone(graph):
    before = show_graph(graph)
    texts = Counter()
    for description, mutant in mutants(graph):
        text = show_graph(mutant) + str(sorted((k, v.tobytes()) for k, v in mutant.arrays.items()))
        texts[text] += 1
        assert text != before + str(sorted((k, v.tobytes()) for k, v in graph.arrays.items())), description
    assert show_graph(graph) == before
    assert sum(n - 1 for n in texts.values()) < 0.03 * len(texts), "the same mutant under two descriptions"


def test_there_are_valid_mutants_of_every_kind(graph):
    made = {description.split(":")[0].split()[0] for operator in OPERATORS for description, mutant in operator(graph)
            if not problems(mutant)}
    assert made == {"cell", "array", "rule", "dt", "population", "projection", "weights", "synapse", "mirror"}


@pytest.mark.slow
def test_proofs_hold(graph, tmp_path):
    """No mutant that is called equivalent is ever told apart, and some are called so."""
    path = recorded(graph, tmp_path)
    equivalent = [d for d, m in mutants(graph) if not problems(m) and still_the_same(graph, m)]
    assert equivalent
    score = mutation_score([path])
    assert set(equivalent) == set(score.equivalent)
    with plain_python():
        from cortexc.compiler.verify.mutation.campaign import found

        table, recording = dict(mutants(load_recording(path).setup.graph)), load_recording(path)
        assert not any(found(recording, table[d]) for d in equivalent)


def recorded(graph, folder) -> Path:
    """A trajectory of the pair in which everything happens."""
    rng = np.random.default_rng(1)
    protocol = Protocol((Phase("all", 20, 3, gates=(("learn", (0.0, 1.0, 1.0, 1.0)),)),), ("all",))
    record_trajectory(folder / "pair.npz", Setup(graph, protocol, rng.uniform(-1, 1, (20, 2))))
    return folder / "pair.npz"


@pytest.mark.slow
def test_mutants_of_an_own_circuit_are_found(graph, tmp_path):
    score = mutation_score([recorded(graph, tmp_path)])
    assert score.share >= 0.99 and not score.raised, score.survivors


def test_a_recording_of_another_circuit_is_refused(graph, tmp_path):
    path = recorded(graph, tmp_path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["a.u"][3] += 1
    np.savez(path, **arrays)
    with pytest.raises(CortexError, match="V140.*'pair.npz' does not match its own circuit") as error:
        mutation_score([path])
    assert error.value.code == "V140"


def test_benchmark_names_the_missing_folder(tmp_path):
    with pytest.raises(CortexError, match="holds no recording"):
        rows({"golden": str(tmp_path)})
