"""Emitted Lava processes without Lava's runtime: a thread per process, a queue per connection, the phases of Loihi's
protocol. What a circuit does there it does in Lava, in a hundredth of the time."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from queue import Queue

import numpy as np
from random_graphs.differences import bits
from scipy.sparse import issparse

from cortexc.compiler.backends.feeding import input_columns, noise_columns, sample_table
from cortexc.compiler.backends.lava.ordinary import Fixed
from cortexc.compiler.backends.lava.ordinary.naming import attribute
from cortexc.compiler.experiments.circuits import with_seeds
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.lava_circuits import graph_of, in_fixed_point, module_of, prepared
from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.verify.runs import Setup, feed_of, trajectory

WAIT = 20.0
_FIXED: dict[str, Fixed | None] = {}


class Channel:
    """One connection."""

    def __init__(self):
        self.queue = Queue()

    def send(self, data):
        self.queue.put(np.array(data))

    def recv(self):
        return self.queue.get(timeout=WAIT)


class Threads:
    """A circuit of an emitted module. `feed`: port of the circuit -> (steps, n). `kind` of the models: "" or Fixed."""

    def __init__(self, module, circuit, feed: Mapping[str, np.ndarray], kind=""):
        self.circuit, self.feed, self.step_number = circuit, feed, 0
        self.parts = circuit.proc_params["parts"]
        channels: dict[object, list[Channel]] = {}
        for part in self.parts.values():
            for out in part.out_ports:
                for target in out.get_dst_ports():
                    channel = Channel()
                    channels.setdefault(out, []).append(channel)
                    channels.setdefault(target, []).append(channel)
        self.sources = {name: [] for name in feed}
        for own, inner in circuit.inside:
            if own.name in feed:
                channel = Channel()
                channels.setdefault(inner, []).append(channel)
                self.sources[own.name].append(channel)
        self.models = {name: _model(module, part, channels, kind) for name, part in self.parts.items()}

    def run(self, steps):
        for _ in range(steps):
            for name, channels in self.sources.items():
                for channel in channels:
                    channel.send(self.feed[name][self.step_number])
            self._phase(_spike)
            if any(model.lrn_guard() for model in self.models.values()):
                self._phase(lambda model: model.run_lrn() if model.lrn_guard() else None)
            self.step_number += 1

    def _phase(self, do):
        errors = []

        def guarded(name, model):
            try:
                do(model)
            except Exception as error:
                errors.append((name, error))

        threads = [threading.Thread(target=guarded, args=item, daemon=True) for item in self.models.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise AssertionError(f"{errors[0][0]}: {type(errors[0][1]).__name__}: {errors[0][1]}") from errors[0][1]

    def value(self, name, quantity):
        """Of a Var, which has an underscore behind its name where that was taken."""
        own = attribute(quantity)
        return getattr(self.models[name], own if own in self.parts[name].vars.member_names else quantity)


def _spike(model):
    model.time_step += 1
    model.run_spk()


def _model(module, part, channels, kind):
    own = f"{type(part).__name__}{kind}Model"
    cls = getattr(module, own) if hasattr(module, own) else stock_model(part)
    model = cls(part.proc_params)
    for port in (*part.in_ports, *part.out_ports):
        kept = getattr(cls, port.name)
        setattr(model, port.name, kept.cls(channels.get(port, []), model, port.shape, kept.d_type))
    for var in part.vars:
        setattr(model, var.name, _first_value(var, getattr(cls, var.name).d_type))
    return model


def _first_value(var, kind):
    if isinstance(var.init, str):
        return var.init
    return var.init.astype(kind) if issparse(var.init) else np.full(var.shape, var.init, kind)


def stock_value(graph, threads, plan, name):
    """A quantity in a circuit some of whose projections are stock processes, which hold units."""
    owner, quantity = name.split(".")
    if owner not in plan.stock:
        return threads.value(owner, quantity)
    stock, units = plan.stock[owner], threads.models[owner].weights
    if stock.listed:
        cells = (graph.arrays[f"{owner}.{side}"].astype(int) for side in ("post", "pre"))
        units = np.asarray(units[tuple(cells)]).ravel()
    return (units if stock.rule or stock.sign != "MIXED" else units / 2) * stock.unit


def stock_model(part):
    """Lava's own, in fixed point."""
    from lava.proc.dense.models import PyDenseModelBitAcc, PyLearningDenseModelBitApproximate
    from lava.proc.sparse.models import (
        PyDelaySparseModelBitAcc,
        PyLearningSparseModelBitApproximate,
        PySparseModelBitAcc,
    )

    return {"Dense": PyDenseModelBitAcc, "LearningDense": PyLearningDenseModelBitApproximate,
            "Sparse": PySparseModelBitAcc, "DelaySparse": PyDelaySparseModelBitAcc,
            "LearningSparse": PyLearningSparseModelBitApproximate}[type(part).__name__]


@dataclass
class Found:
    """How many Vars were compared, which differ in a bit from the native loop's, how many weights moved."""

    compared: int
    wrong: list[str]
    moved: int


def stimulus(graph: Graph, steps: int) -> dict[str, np.ndarray]:
    """(steps, batch, n) of every input."""
    rng = np.random.default_rng(2)
    return {f"{p.name}.{name}": rng.uniform(0, 1, (steps, graph.batch, p.size)) for p in graph.populations
            for name in graph.cell(p.cell).inputs}


def behind(graph: Graph, name: str, values: np.ndarray) -> np.ndarray:
    """(..., seeds, samples) of a quantity that native has with one axis, of all copies, before the others."""
    copies = graph.seeds if len(values) == graph.seeds else graph.batch
    lengths = [n for n in (graph.seeds, copies // graph.seeds) if n > 1] if len(values) > 1 else []
    parts = values.reshape(*lengths, *values.shape[1:])
    return np.ascontiguousarray(np.moveaxis(parts, range(len(lengths)), range(-len(lengths), 0)))


def differences(source: Graph | Experiment, steps: int, kind: str = "", seed: int | Sequence[int] = 1,
                **options: bool) -> Found:
    """Every state, weight and sum of a rule after so many steps, against the native backend; all gates on."""
    seeds = [] if isinstance(seed, int) else list(seed)
    graph = graph_of(source, seeds)
    graph = with_seeds(graph, len(seeds)) if seeds else graph
    fixed = _fixed(source, tuple(seeds)) if isinstance(source, Experiment) else None
    run = fixed.graph if fixed and kind else graph
    gates, feed, names = dict.fromkeys(graph.gates, 1.0), stimulus(graph, steps), kept(run)
    module = module_of(prepared(graph), fixed, **options)
    ports = {name.replace(".", "_") + "_in": [behind(graph, name, row) for row in rows] for name, rows in feed.items()}
    threads = Threads(module, module.Circuit(gates=gates, seed=seed), ports, kind)
    threads.run(steps)
    every = 1 if steps <= 1000 else steps // 5
    recorded = simulate(run, steps, inputs=feed, record=names, every=every, gates=gates, granularity="population", seed=seed)
    wrong = [name for name in names
             if not identical(threads.value(*name.split(".")), behind(run, name, recorded[name][-1]))]
    moved = [name for name in names if name.endswith(".w") and (recorded[name][-1] != recorded[name][0]).any()]
    return Found(len(names), wrong, len(moved))


def identical(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()


def _fixed(experiment: Experiment, seeds: tuple[int, ...]) -> Fixed | None:
    """Made once: it takes seconds."""
    key = f"{experiment.sha256()} {seeds}"
    if key not in _FIXED:
        _FIXED[key] = in_fixed_point(experiment, seeds)
    return _FIXED[key]


def kept(graph: Graph) -> list[str]:
    """Every state, weight and sum of a rule."""
    names = [f"{p.name}.{s.name}" for p in graph.populations for s in graph.cell(p.cell).states]
    for q in graph.projections:
        rule = graph.rule_of(q)
        names += [f"{q.name}.{name}" for name in ("w", *(rule.learnt if rule else ())) if weight_shape(graph, q)]
    return names


def wrong_in(setup: Setup) -> list[str]:
    """What differs from the interpreter in any step, NaN apart; gates and draws of others come by ports. Raises E531."""
    graph, names = setup.graph, kept(setup.graph)
    module, feed = module_of(graph), feed_of(setup)
    table, block = sample_table(graph, setup.protocol, setup.samples), feed.block(setup.protocol.total)
    ports = {name: table[block.rows][:, :, part] for name, part in input_columns(graph)}
    if graph.noise.kind in ("legacy", "recorded"):
        ports |= {name: block.noise[:, part].reshape(len(block.noise), -1, graph.batch).swapaxes(1, 2)
                  for name, part in noise_columns(graph) if not name.endswith((".key", ".redrawn"))}
    ports = {name.replace(".", "_") + "_in": [behind(graph, name, row) for row in rows] for name, rows in ports.items()}
    ports |= {f"gate_{gate}_in": block.gates[:, i + 1:i + 2] for i, gate in enumerate(graph.gates)}
    threads = Threads(module, module.Circuit(seed=list(setup.seeds) if graph.seeds > 1 else setup.seeds[0]), ports)
    expected = list(trajectory(setup, names, "interpreter"))
    rows = {name: np.concatenate([chunk[name] for chunk in expected]) for name in names}
    wrong: set[str] = set()
    for step in range(setup.protocol.total):
        threads.run(1)
        wrong |= {name for name in names if (bits(threads.value(*name.split("."))) != bits(
            behind(graph, name, rows[name][step]))).any()}
    return sorted(wrong)
