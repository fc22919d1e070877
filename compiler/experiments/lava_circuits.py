"""A circuit as one process for Lava networks of one's own: `cortexc.lava.Circuit`, and what `compile --circuit` writes.

X158 what no circuit can be made of; X217 noise that nobody draws; X218 the first of several seeds.
"""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cortexc.compiler.backends.feeding import check_seeds
from cortexc.compiler.backends.lava.ordinary import Fixed, circuit_module, is_a_process, write_circuit
from cortexc.compiler.experiments.checkpoints import graph_sha256
from cortexc.compiler.experiments.circuits import build_circuit, read_arrays, with_seeds
from cortexc.compiler.experiments.compilation import check_installed, compile_experiment, written_graph
from cortexc.compiler.experiments.config import Experiment, load_experiment
from cortexc.compiler.experiments.export import check_circuit, check_unedited, digests, open_run
from cortexc.compiler.experiments.files import user_path, write_json, write_npz, write_text, written_aside
from cortexc.compiler.experiments.quantities import shaped
from cortexc.compiler.experiments.results import FINAL, MANIFEST
from cortexc.compiler.experiments.simulation import seeds_of
from cortexc.compiler.experiments.tables import Model
from cortexc.compiler.experiments.tasks.plans import is_whole
from cortexc.compiler.front.builder import Network
from cortexc.compiler.ir import CellType, CortexError, Graph, parse_graph, show_graph
from cortexc.compiler.ir.errors import CortexWarning
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.ir.verify import verify
from cortexc.compiler.passes import Request, Target, run_pipeline

Source = Graph | Network | Experiment | str | Path
LEFT_OUT = frozenset({"fold", "partition"})
"""Passes that would take away what a user may set while the circuit runs, with the same bits."""
_FOLDERS: list[Any] = []
"""Folders of the modules that this process has loaded; gone when it ends."""
_MODULES: dict[str, Any] = {}


def Circuit(source: Source, *, overrides: Sequence[str] | Mapping[str, Any] = (),
            arrays: Mapping[str, np.ndarray] | None = None, gates: Mapping[str, float] | None = None,
            seed: int | Sequence[int] | None = None, name: str | None = None, stock: bool | None = None,
            learning_phase: bool = True) -> Any:
    """The circuit as a hierarchical Lava process: runs in any Lava network, learns while it runs.

        circuit = cortexc.lava.Circuit("pal_digits", gates={"learn_forward": 1.0, "target": 1.0})
        sensor.s_out.connect(circuit.input_value_in)
        circuit.run(RunSteps(1000), Loihi2SimCfg())
        circuit.projections["WPP_0"].w.get()

    `source`: a shipped experiment's name, its file, a run folder (with what was learnt there), an `Experiment`, a
    graph, a `Network`, a graph's text or its file `.ir`. `arrays`: weights and first values by name, in place of the
    circuit's. `gates`: gate -> a number, on where it is above 0; what is not named is off. `seed`: of the noise, by
    default that of the experiment, or 1. Several are so many circuits side by side, those of an experiment each with
    the weights that it has with that seed: states are (n, seeds), weights (n_post, n_pre, seeds). Of an experiment that
    learns in minibatches states are (n, samples), or (n, seeds, samples). `stock`: in fixed point, on Lava's own Dense
    and LearningDense wherever they have its bits (`stock_circuit`); by default what the experiment's run.stock says.
    `learning_phase`: off, rules learn in `run_spk`: the same bits in less time, since Lava's runtime does not visit
    every process once more.

    Raises X150 where Lava is not installed, X158 for other sources, X203, X204, E273 and E278 for gates and seeds, E531
    for what ordinary Lava does not say, and what loading, building and checking a circuit raise. Warns with X217,
    and with X218 where the experiment has several seeds and `seed` lists none.
    """
    check_installed("lava")
    several = () if seed is None or is_whole(seed) else seeds_of(Graph("seeds"), seed)
    experiment = experiment_of(source, overrides, several)
    if experiment and not several:
        _say_which_seed(experiment)
    if experiment and arrays is not None and experiment.precision.weights:
        raise CortexError("X158", "arrays= was given for an experiment in fixed point.", "Name them in model.arrays.")
    graph = _with(graph_of(experiment or source, several), arrays or {}, several)
    values = _gate_values(graph, gates or {})
    first = experiment.run.seeds[0] if experiment else 1
    seeds = several or seeds_of(graph, first if seed is None else seed)
    check_seeds(graph, seeds)
    _say_who_draws(graph, values)
    if stock is None:
        stock = experiment is not None and experiment.run.stock
    made = module_of(*_given(experiment, graph, stock, several), learning_phase).Circuit
    return made(gates=values, seed=seeds if len(seeds) > 1 else seeds[0], name=name or graph.name)


def _with(graph: Graph, arrays: Mapping[str, np.ndarray], seeds: Sequence[int]) -> Graph:
    """With arrays and a seeds axis of the user's, checked."""
    graph = graph.with_(arrays={**graph.arrays, **arrays}) if arrays else graph
    graph = with_seeds(graph, len(seeds)) if seeds and graph.seeds == 1 else graph
    verify(graph)
    return graph


def _gate_values(graph: Graph, gates: Mapping[str, float]) -> dict[str, float]:
    """Raises X203, X204, E273."""
    values = {gate: float(shaped(f"gate {gate}", value, ())) for gate, value in gates.items()}
    held = tuple((gate, (value,)) for gate, value in values.items())
    Protocol((Phase("run", 0, 1, gates=held),), ("run",)).check(graph.gates)
    return values


def _say_who_draws(graph: Graph, gates: Mapping[str, float]) -> None:
    """X217 where noise is on that processes do not draw themselves."""
    drawn = [f"{p.name}_{name}_in" for p in graph.populations for name, _ in graph.cell(p.cell).noise]
    on = graph.noise.gate is None or gates.get(graph.noise.gate, 0) > 0
    if drawn and on and graph.noise.kind in ("legacy", "recorded"):
        warnings.warn(CortexWarning("X217", f"noise of graph '{graph.name}' is {graph.noise.kind}, which its processes "
                                            f"do not draw: it is what arrives at {', '.join(drawn)}, or 0.",
                                    "Connect those ports, or give run.noise=counter."), stacklevel=3)


def _say_which_seed(experiment: Experiment) -> None:
    """X218 where an experiment has several seeds, of which the circuit is the first."""
    first, *others = experiment.run.seeds
    if others:
        warnings.warn(CortexWarning("X218", f"experiment '{experiment.name}' has {1 + len(others)} seeds; the circuit "
                                            f"begins as the first one, {first}, does.",
                                    f"Give run.seeds=[{first}] or another; cortexc.lava.Circuit takes seed=[...] for "
                                    "several at once."), stacklevel=3)


def _given(experiment: Experiment | None, graph: Graph, stock: bool,
           seeds: Sequence[int] = ()) -> tuple[Graph, Fixed | None, bool]:
    if not stock:
        return prepared(graph), in_fixed_point(experiment, seeds), False
    return stock_circuit(experiment, graph, seeds), None, True


def stock_circuit(experiment: Experiment | None, graph: Graph, seeds: Sequence[int] = ()) -> Graph:
    """What an experiment with a table [precision] runs in fixed point; a graph is in fixed point as it is."""
    return _quantised(experiment, seeds) if experiment and experiment.precision.weights else prepared(graph)


def _quantised(experiment: Experiment, seeds: Sequence[int]) -> Graph:
    run = experiment.with_run(backend="lava", granularity="population", seeds=list(seeds or experiment.run.seeds[:1]))
    return compile_experiment(run).report.graph


def prepared(graph: Graph) -> Graph:
    """What ordinary Lava shows: difference equations, with every state and parameter of the circuit."""
    states = [f"{p.name}.{s.name}" for p in graph.populations for s in graph.cell(p.cell).states]
    found = run_pipeline(graph, Request(frozenset(states)), Target("population", without=LEFT_OUT)).graph
    return found.with_(cells=tuple(_with_states(cell, graph) for cell in found.cells))


def _with_states(cell: CellType, written: Graph) -> CellType:
    """Also those whose earlier values nothing reads any more."""
    before = next((each for each in written.cells if each.name == cell.name), cell)
    lost = [s for s in before.states if cell.state(s.name) is None and cell.equation(s.name)]
    return replace(cell, states=(*cell.states, *lost))


def experiment_of(source: Source, overrides: Sequence[str] | Mapping[str, Any] = (),
                  seeds: Sequence[int] = ()) -> Experiment | None:
    """None for graphs. Of a run folder, with what was learnt there, of several seeds with these or the first."""
    if isinstance(source, Graph | Network | Experiment) or _is_text(source):
        if overrides:
            raise CortexError("X158", f"overrides= was given for a {type(source).__name__}.",
                              "Override while it is loaded: cortexc.load(name, overrides).")
        return source if isinstance(source, Experiment) else None
    if not isinstance(source, str | Path):
        raise CortexError("X158", f"a circuit cannot be made of a {type(source).__name__}.",
                          "Give a Graph, its text, an Experiment or the name of one.")
    experiment = load_experiment(source, overrides)
    if not (learnt := Path(source) / FINAL).is_file():
        return experiment
    check_circuit(Path(source))
    learnt = _of_seeds(Path(source), learnt, seeds)
    model = msgspec.structs.replace(experiment.model, arrays=str(learnt.resolve()))
    return msgspec.structs.replace(experiment, model=model)


def _of_seeds(folder: Path, learnt: Path, seeds: Sequence[int]) -> Path:
    """Arrays that a run folder has for these of its seeds, or for the first. Raises X158."""
    ran = list(load_experiment(folder).run.seeds)
    if len(ran) == 1:
        return learnt
    for seed in seeds:
        if seed not in ran:
            raise CortexError("X158", f"seed {seed} is not one of run folder '{folder}': {', '.join(map(str, ran))}.")
    graph, rows = parse_graph(open_run(folder).graph_text), [ran.index(seed) for seed in seeds or ran[:1]]
    ranks = {p.name: 1 for p in graph.populations} | {q.name: len(weight_shape(graph, q)) for q in graph.projections}
    found = {name: array if array.ndim == ranks[name.partition(".")[0]] else
             np.concatenate([np.split(array, len(ran))[row] for row in rows])
             for name, array in read_arrays(learnt).items()}
    _FOLDERS.append(tempfile.TemporaryDirectory(prefix="cortexc_"))
    chosen = Path(_FOLDERS[-1].name) / "chosen.npz"
    write_npz(chosen, found)
    return chosen


def _is_text(source: Source) -> bool:
    """A graph's text, or a file of it."""
    text = str(source)
    return text.endswith(".ir") or "\n" in text


def graph_of(source: Source, seeds: Sequence[int] = ()) -> Graph:
    """An experiment's is that of its first seed, unless others are given, with the samples of its minibatches."""
    if isinstance(source, Graph | Network):
        return source.graph if isinstance(source, Network) else source
    if not isinstance(source, Experiment):
        return build_circuit(Model(circuit=str(source)), [1]) if str(source).endswith(".ir") else \
            parse_graph(str(source))
    return written_graph(source, seeds or source.run.seeds[:1])


def in_fixed_point(experiment: Experiment | None, seeds: Sequence[int] = ()) -> Fixed | None:
    """What an experiment with a table [precision] runs, with its first seed or these. Takes its data, for ranges."""
    if experiment is None or not experiment.precision.weights:
        return None
    graph = _quantised(experiment, seeds)
    circuit = module_of(graph).Circuit()
    gates = [var for gate in circuit.gates.values() for var in gate.variables]
    return Fixed(graph, {f"fixed/{name}/{var.name}": np.array(var.init, float)
                         for name, part in circuit.proc_params["parts"].items() for var in part.vars
                         if not any(var is gate for gate in gates)})


def module_of(graph: Graph, fixed: Fixed | None = None, stock: bool = False, learning_phase: bool = True) -> Any:
    """The module of a graph, loaded once."""
    from cortexc.compiler.backends.lava.ordinary.loading import load_circuit

    made = circuit_module(graph, fixed, stock, learning_phase)
    key = hashlib.sha256("\0".join([made.text, *(f"{n} {a.tobytes()!r}" for n, a in made.arrays.items())]).encode())
    if key.hexdigest() not in _MODULES:
        _FOLDERS.append(tempfile.TemporaryDirectory(prefix="cortexc_"))
        folder = write_circuit(graph, Path(_FOLDERS[-1].name), fixed, stock, learning_phase)
        _MODULES[key.hexdigest()] = load_circuit(folder)
    return _MODULES[key.hexdigest()]


def compile_circuit(experiment: Experiment, folder: str | Path, force: bool = False) -> dict[str, Any]:
    """Writes a folder that Lava programs import: network_lava.py, arrays.npz, the graph and a manifest, which is
    returned. Of several seeds it is the first (X218). Raises X132 for a folder that holds something else, X148 for one
    whose code was edited, unless `force`, and what `Circuit` raises."""
    if not force:
        check_unedited(user_path(folder))
    _say_which_seed(experiment)
    graph, fixed, stock = _given(experiment, graph_of(experiment), experiment.run.stock)
    with written_aside(folder, MANIFEST) as aside:
        write_circuit(graph, aside, fixed, stock)
        write_text(aside / "source.ir", show_graph(graph))
        processes = len(graph.populations) + sum(is_a_process(graph, q) for q in graph.projections)
        manifest = {"circuit": graph.name, "experiment": experiment.name, "processes": processes,
                    "granularity": "circuit", "graph_sha256": graph_sha256(graph), "files": digests(aside)}
        write_json(aside / MANIFEST, manifest)
    return manifest
