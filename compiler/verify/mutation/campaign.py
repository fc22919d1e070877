"""The verifier itself, verified: how many small mistakes in a circuit do the recordings find?

Every mutant of every recording's graph is run against the recording, as plain Python through the same lowering as the
product, until it leaves the absolute limit or the run ends. One recording that finds it is enough.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Graph, verify
from cortexc.compiler.verify.compare import Comparison
from cortexc.compiler.verify.mutation.equivalence import still_the_same
from cortexc.compiler.verify.mutation.mutants import mutants
from cortexc.compiler.verify.oracles.base import Oracle
from cortexc.compiler.verify.oracles.table import ORACLES
from cortexc.compiler.verify.recorded.format import Source
from cortexc.compiler.verify.recorded.readers import published_files, published_recording
from cortexc.compiler.verify.recorded.recordings import Recording, load_recording
from cortexc.compiler.verify.runs import aligned, compiled, interpreted, quantities

CHUNK = 10
"""Steps between two looks at whether a mutant is found."""


@dataclass
class Score:
    """Mutants by their description. `killed`: the recording that found it; `invalid`: the code with which the graph's
    check refused it; `equivalent`: why it is the same circuit in every recording that has it; `survivors`: what is
    known about why nothing found it; `raised`: what broke instead of being found (a fault of the compiler)."""

    killed: dict[str, str] = field(default_factory=dict)
    invalid: dict[str, str] = field(default_factory=dict)
    equivalent: dict[str, str] = field(default_factory=dict)
    survivors: dict[str, str] = field(default_factory=dict)
    raised: dict[str, str] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Found among the valid mutants that differ from the circuit."""
        live = len(self.killed) + len(self.survivors)
        return len(self.killed) / live if live else 1.0

    @property
    def total(self) -> int:
        return sum(map(len, (self.killed, self.invalid, self.equivalent, self.survivors, self.raised)))

    def as_rows(self) -> list[dict[str, Any]]:
        """One row per place of the mistake, then the sum."""
        tables = {"killed": self.killed, "invalid": self.invalid, "equivalent": self.equivalent,
                  "survivors": self.survivors, "raised": self.raised}
        places = sorted({place(d) for table in tables.values() for d in table})
        rows: list[dict[str, Any]] = []
        for each in places:
            counts = {name: sum(place(d) == each for d in table) for name, table in tables.items()}
            rows.append({"place": each, "mutants": sum(counts.values()), **counts})
        counts = {name: len(table) for name, table in tables.items()}
        return [*rows, {"place": "all", "mutants": self.total, **counts, "share_killed": self.share}]


def place(description: str) -> str:
    """`cell hidden_pyramidal`, `rule forward`, `projection` ...: where a mutant was made."""
    words = description.split(":")[0].split()
    return " ".join(words[:2]) if words[0] in ("cell", "rule", "synapse") else words[0]


def mutation_score(recordings: Sequence[Recording | str | Path], sample: int | None = None, seed: int = 0,
                   on_mutant: Callable[[int, int], None] | None = None) -> Score:
    """Runs all mutants, or `sample` of them, against the recordings, in their order; `on_mutant(done, total)`.
    Raises V140 where a recording does not even match its own circuit."""
    loaded = [r if isinstance(r, Recording) else load_recording(r) for r in recordings]
    score = Score()
    with plain_python():
        for recording in loaded:
            _check_unmutated(recording)
        tables = [dict(mutants(recording.setup.graph)) for recording in loaded]
        chosen = _chosen(list(dict.fromkeys(d for table in tables for d in table)), sample, seed)
        for index, description in enumerate(chosen):
            _judge(description, [(r, t[description]) for r, t in zip(loaded, tables, strict=True) if description in t],
                   score)
            if on_mutant:
                on_mutant(index + 1, len(chosen))
    return score


def _chosen(descriptions: list[str], sample: int | None, seed: int) -> list[str]:
    if sample is None or sample >= len(descriptions):
        return descriptions
    picked = np.random.default_rng(seed).choice(len(descriptions), sample, replace=False)
    return [descriptions[i] for i in sorted(picked)]


def _check_unmutated(recording: Recording) -> None:
    reasons = [why for _, why in against(recording, recording.setup.graph).findings()]
    if reasons:
        raise CortexError("V140", f"recording '{recording.name}' does not match its own circuit: {'; '.join(reasons)}.",
                          "Only a recording that the circuit reproduces can find mistakes in it.")


def _judge(description: str, places: Sequence[tuple[Recording, Graph]], score: Score) -> None:
    """Files one mutant under its outcome."""
    invalid, same, alive = "", "", []
    for recording, graph in places:
        try:
            verify(graph)
        except CortexError as error:
            invalid = error.code
            continue
        reason = still_the_same(recording.setup.graph, graph)
        if reason:
            same = reason
            continue
        try:
            if found(recording, graph):
                score.killed[description] = recording.name
                return
        except Exception as error:
            score.raised[description] = f"{type(error).__name__}: {error}"
            return
        alive.append((recording, graph))
    if alive:
        score.survivors[description] = _why(description, alive)
    elif same:
        score.equivalent[description] = same
    else:
        score.invalid[description] = invalid


def found(recording: Recording, graph: Graph) -> bool:
    """Whether the recording refutes the graph, by the limits of every verification."""
    comparison = against(recording, graph)
    return comparison.hopeless or bool(comparison.findings())


def against(recording: Recording, graph: Graph) -> Comparison:
    """The comparison of a graph with a recording, given up as soon as it is hopeless."""
    setup = replace(recording.setup, graph=graph)
    comparison = Comparison()
    try:
        chunks = compiled(setup, recording.wanted, "native", chunk=CHUNK)
    except CortexError:
        chunks = interpreted(setup, recording.wanted, chunk=CHUNK)
    for _, ours, theirs in aligned(recording.named(chunks), recording.chunks(CHUNK)):
        comparison.add(ours, theirs)
        if comparison.hopeless:
            return comparison
    for name, (value, recorded) in recording.constants.items():
        comparison.add_constant(name, value, recorded)
    return comparison


def _why(description: str, alive: Sequence[tuple[Recording, Graph]]) -> str:
    """What is known about a survivor."""
    columns = [gate_columns(recording) for recording, _ in alive]
    for name in sorted(columns[0].keys() & set(re.findall(r"\w+", description))):
        twins = [other for other in columns[0] if other != name
                 and all(np.array_equal(c[name], c[other]) for c in columns)]
        if twins:
            return f"gate '{name}' equals '{', '.join(twins)}' at every step of every recording that has the site"
    errors = [track.worst / track.limit for recording, graph in alive
              for track in against(recording, graph).tracks.values()]
    return f"the largest error over {len(alive)} recordings is {max(errors, default=0.0):.1g} of its limit"


def gate_columns(recording: Recording) -> dict[str, np.ndarray]:
    """Gate -> (T,), 0 where the protocol does not set it."""
    phase, graph = recording.setup.protocol.phases[0], recording.setup.graph
    table = dict(phase.gates)
    return {g: np.asarray(table.get(g, (0.0,) * phase.total), dtype=float) for g in graph.gates}


def rehearsals(circuit: str, steps: int = 100) -> list[Recording]:
    """Trajectories of the torch reference that tell apart what the published ones do not: learning gates and target
    that change independently of each other, noise that ends again, more layers, half a look-ahead."""
    oracle = _rehearsing(circuit)
    assert oracle
    return [published_recording(f"reference_{name}", oracle.record(each, steps, seed)) if oracle.record
            else _followed(f"reference_{name}", oracle, each, steps, seed)
            for seed, (name, each) in enumerate(oracle.rehearsed[circuit].items(), 1)]


def _rehearsing(circuit: str) -> Oracle | None:
    return next((oracle for oracle in ORACLES.values() if circuit in oracle.rehearsed), None)


def _followed(name: str, oracle: Oracle, circuit: Any, steps: int, seed: int) -> Recording:
    """Of a circuit without published recordings: the reference in a setup of its own."""
    setup = oracle.setup(circuit, steps, (seed,))
    wanted = oracle.wanted(circuit, set(quantities(setup.graph)))
    chunks = list(oracle.trajectory(circuit, setup, set(wanted), steps))
    expected = {quantity: np.concatenate([chunk[quantity] for chunk in chunks]) for quantity in chunks[0]}
    sources = {quantity: Source(quantity, single=False) for quantity in expected}
    return Recording(name, setup, expected, sources, "independent-reference", circuit=circuit)


def rows(options: dict[str, Any]) -> list[dict[str, Any]]:
    """`cortexc bench mutations`: a row per place of the mistake, the sum, and a row per survivor. Options: circuit
    (pal, layered-pal, error-neuron, dendritic, dpc, ann), golden (the folder of the published recordings, where there
    are any), sample (how many mutants; default all), seed. Raises V101, V103."""
    circuit = str(options.get("circuit", "pal"))
    oracle = _rehearsing(circuit)
    files = [] if oracle and not oracle.record else published_files(circuit, options.get("golden"))
    score = mutation_score([*files, *rehearsals(circuit)], options.get("sample"), int(options.get("seed", 0)))
    return [*score.as_rows(), *({"place": f"survivor: {d}", "reason": why} for d, why in score.survivors.items())]


@contextmanager
def plain_python() -> Iterator[None]:
    """Kernels as plain Python in a temporary folder: a mutant is not worth compiling."""
    names, before = ("CORTEXC_JIT", "CORTEXC_CACHE"), dict(os.environ)
    modules = set(sys.modules)
    with tempfile.TemporaryDirectory(prefix="cortexc_mutants_") as folder:
        os.environ |= {"CORTEXC_JIT": "0", "CORTEXC_CACHE": folder}
        try:
            yield
        finally:
            for name in names:
                os.environ.pop(name, None)
                if name in before:
                    os.environ[name] = before[name]
            for name in set(sys.modules) - modules:
                if name.startswith("cortexc_kernels_"):
                    del sys.modules[name]
