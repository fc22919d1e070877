"""Every way that input of strangers takes into the product, with valid input to start from.

A door makes one hostile input out of a generator and takes it as far as a user would: what the product accepts is
lowered and runs a few steps. Doors raise what the product raises.
"""
from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import mutations
import numpy as np
from mutations import pick
from random_graphs.choices import RandomChoices
from random_graphs.circuits import random_setup

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.cli.app import execute
from cortexc.compiler.experiments.checkpoints import arrays_sha256, read_checkpoint
from cortexc.compiler.experiments.circuits import read_arrays
from cortexc.compiler.experiments.compilation import compile_experiment
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.data.datasets import load_arrays, load_dataset
from cortexc.compiler.experiments.files import EXAMPLES, write_safetensors
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import Graph, parse, parse_graph, show, show_graph, verify
from cortexc.compiler.ir.arrays import expected_shapes
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.passes import pipeline, run_passes
from cortexc.compiler.passes.read_sets import read_sets
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.recorded.recordings import load_recording
from cortexc.compiler.verify.runs import interpreted
from cortexc.hardware_maps import load_map, shipped_maps

SMALL, STEPS = 2_000, 2
"""A graph with at most so many cells and weights is run, for so many steps."""

CHAIN = """graph chain
  dt 0.1
  gate learn
cell source
  input value
  state rate = 0
  send rate = value
  message rate
cell unit
  port basal @ basal
  parameter tau ms = 5
  state u = 0
  receive u = prev(u) + dt * (basal - prev(u)) / tau @ soma
  factor slope = exp(-u * u) + where(u > 0, 1, 0)
  message u
rule hebb
  parameter eta 1/ms = 0.1
  state trace = 0
  update trace = 0.9 * prev(trace) + post.slope * pre.rate
  increment dt * eta * trace - 0.001 * w
  optimiser low_pass(dt / 100)
synapse forward
  message rate
  port basal
  connectivity dense
  sign free
  limits -4 4
  rule hebb
population input source 2
population hidden unit 3 area=L1
  tau = 4
projection W forward input -> hidden gate=learn
output voltage = hidden.u
"""
EXPERIMENT = """description = "a stream"
[model]
circuit = "chain.ir"
arrays = "weights.npz"
[data.inputs]
"input.value" = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]
[protocol]
task = "stream"
presentation_steps = 2
epochs = 1
[run]
seeds = [1]
backend = "interpreter"
[precision]
weights = 0
[record.all]
every = 1
quantities = ["hidden.u", "W.w"]
"""
EXPRESSIONS = ("prev(u) + dt * (basal - prev(u)) / tau", "where(u > 0 and v < 1, exp(-u), pow(u, 2))", "lookup(T, u * 3)",
               "clip(interpolate(T, u), 0, 1) * shift_left(3, 2)", "-(a - b) / (c == d) * pre.rate * post.error")
ODD = (None, True, -1, 2, 10**30, float("nan"), float("inf"), 1j, [], [1, 2], [[1.0]], [None], ["hidden.u"], ["W.w", 3], {},
       {"a": 1}, np.ones(2), np.ones((4, 2)), np.ones((4, 1, 2)), np.full(2, np.nan), np.array(["a"]), np.zeros((0, 2)), object())
TABLE = "0.1,0.2,0\n0.3,0.1,1\n0.5,0.7,0\n0.9,0.2,1\n" * 6


class Doors:
    """All doors, in a folder of their own that holds a valid experiment."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "chain.ir").write_text(CHAIN)
        self.weights = {"W.w": np.ones((3, 2)), "hidden.u": np.zeros(3)}
        np.savez(folder / "weights.npz", **self.weights)
        (folder / "experiment.toml").write_text(EXPERIMENT)
        self.circuits = [CHAIN, *self._random_circuits()]
        self.experiments = [EXPERIMENT, *(path.read_text() for path in sorted(EXAMPLES.glob("*.toml")))]
        self.maps = [path.read_text() for path in shipped_maps().values()]
        self.recording = {"graph.ir": np.array(CHAIN), "init_W.w": np.ones((3, 2)), "input.value": np.ones((4, 2)),
                          "gate.learn": np.ones(4)}
        with Session(load_experiment(folder / "experiment.toml"), folder / "run") as session:
            session.run(3)
            session.checkpoint()
        self.checkpoint = next((folder / "run").glob("*checkpoint*")).read_bytes()
        self.table: dict[str, Callable[[np.random.Generator], None]] = {
            "ir text": self.circuit, "expression": self.expression, "toml": self.toml, "--set": self.override,
            "recording": self.golden, "csv": self.csv, "npz data": self.data, "arrays": self.arrays,
            "checkpoint": self.resume, "map": self.map, "command line": self.command,
            "simulate": self.simulated}

    @staticmethod
    def _random_circuits() -> list[str]:
        with plain_python():
            setups = [random_setup(RandomChoices(seed)) for seed in range(12)]
        return [show_graph(setup.graph) for setup in setups]

    def _file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        return path

    # ---- circuits

    def circuit(self, rng: np.random.Generator) -> None:
        graph = parse_graph(mutations.text(rng, pick(rng, self.circuits), self.circuits))
        graph = graph.with_(arrays=bound_arrays(rng, graph))
        verify(graph)
        assert parse_graph(show_graph(graph)) == graph, "the text does not read back"
        run_a_little(graph)

    def expression(self, rng: np.random.Generator) -> None:
        found = parse(mutations.text(rng, pick(rng, (*EXPRESSIONS, *mutations.CHAINS)), list(EXPRESSIONS)))
        assert parse(show(found)) == found, "the text does not read back"

    def arrays(self, rng: np.random.Generator) -> None:
        content = mutations.npz(mutations.arrays(rng, self.weights))
        path = self._file("arrays.npz", mutations.raw(rng, content) if rng.random() < 0.3 else content)
        graph = parse_graph(CHAIN).with_(arrays=read_arrays(path))
        verify(graph)
        run_a_little(graph)

    # ---- experiments

    def toml(self, rng: np.random.Generator) -> None:
        path = self._file("mutant.toml", mutations.text(rng, pick(rng, self.experiments[:1] * 20 + self.experiments),
                                                        self.experiments))
        experiment = load_experiment(path)
        if experiment.model.circuit.endswith("chain.ir"):
            compile_experiment(experiment)

    def override(self, rng: np.random.Generator) -> None:
        keys = ("run.seeds", "run.backend", "protocol.epochs", "protocol.presentation_steps", "precision.weights",
                "precision.formats", "data.inputs", "record.all.every", "record.all.at", "record.all.quantities",
                "model.arrays", "passes.disable", "model.circuit", "data.limits", "protocol.readout", "run.hardware")
        text = f"{pick(rng, keys)}={pick(rng, (*mutations.NUMBERS, *mutations.WORDS, '[]', '{}', '[1, 2]', '[[1]]'))}"
        text = mutations.text(rng, text, list(keys)) if rng.random() < 0.5 else text
        compile_experiment(load_experiment(self.folder / "experiment.toml", [text]))

    def simulated(self, rng: np.random.Generator) -> None:
        """Up to two arguments are something else."""
        graph = parse_graph(CHAIN).with_(arrays=self.weights)
        options = {"graph": graph, "steps": STEPS, "inputs": {"input.value": rng.random((STEPS, 2))}, "record": ["hidden.u"],
                   "every": 1, "gates": {"learn": 1.0}, "backend": "interpreter", "seed": 1, "noise": None, "final": True}
        for key in rng.permutation(list(options))[:pick(rng, (0, 1, 1, 2))]:
            value = pick(rng, (*ODD, *mutations.WORDS, *map(float, range(3))))
            options[key] = {pick(rng, ("input.value", "learn", "x")): value} if key in ("inputs", "gates") and \
                rng.random() < 0.7 else value
        simulate(**options)

    def command(self, rng: np.random.Generator) -> None:
        """Exit codes are 0, 1 or 2, and nothing but a coded line is said."""
        words = ["show", "explain", "run", "verify", "models", "fit", "explain-error", "export"]
        arguments = [pick(rng, words), str(self.folder / "experiment.toml"), "--set", "run.backend=interpreter"]
        arguments += [pick(rng, ("--json", "--after", "--map", "--steps", "--granularity", "-o", "--no-progress"))]
        arguments += [pick(rng, (*mutations.NUMBERS[:8], *mutations.WORDS[:12], str(self.folder / "out")))]
        out, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            code = execute(arguments)
        assert code in (0, 1, 2), f"exit code {code}"
        assert "Traceback" not in said.getvalue(), said.getvalue()[-300:]

    def resume(self, rng: np.random.Generator) -> None:
        path = next((self.folder / "run").glob("*checkpoint*"))
        if rng.random() < 0.3:
            path.write_bytes(mutations.raw(rng, self.checkpoint))
        else:  # somebody who knows the format signs what was changed
            path.write_bytes(self.checkpoint)
            metadata, arrays = read_checkpoint(path)
            arrays = {name: np.atleast_1d(array) for name, array in mutations.arrays(rng, arrays).items()
                      if array.dtype.kind in "fiub"}
            if rng.random() < 0.3:
                metadata[pick(rng, sorted(metadata))] = pick(rng, (*mutations.NUMBERS, *mutations.WORDS))
            write_safetensors(path, arrays, {**metadata, "sha256": arrays_sha256(arrays)})
        with Session(load_experiment(self.folder / "experiment.toml"), self.folder / "run") as session:
            session.resume()
            session.run(1)

    # ---- files

    def golden(self, rng: np.random.Generator) -> None:
        table = mutations.arrays(rng, self.recording)
        if rng.random() < 0.5:
            table["graph.ir"] = np.array(mutations.text(rng, CHAIN, self.circuits).replace("\x00", ""))
        content = mutations.npz(table)
        recording = load_recording(self._file("golden.npz", mutations.raw(rng, content) if rng.random() < 0.2 else content))
        for _ in interpreted(recording.setup, recording.wanted, STEPS):
            pass

    def csv(self, rng: np.random.Generator) -> None:
        path = self._file("own.csv", mutations.text(rng, TABLE, [TABLE]))
        load_dataset(str(path))

    def data(self, rng: np.random.Generator) -> None:
        x, y = rng.random((8, 3)), np.arange(8) % 2
        content = mutations.npz(mutations.arrays(rng, {"train_x": x, "train_y": y, "test_x": x, "test_y": y}))
        path = self._file("own.npz", mutations.raw(rng, content) if rng.random() < 0.3 else content)
        pick(rng, (load_arrays, lambda p: load_dataset(str(p))))(path)

    def map(self, rng: np.random.Generator) -> None:
        load_map(str(self._file("own.toml", mutations.text(rng, pick(rng, self.maps), self.maps))))


def bound_arrays(rng: np.random.Generator, graph: Graph) -> dict[str, np.ndarray]:
    """The arrays that the graph needs, where its names resolve and they are small; none elsewhere."""
    try:
        shapes = expected_shapes(graph)
    except Exception:  # names do not resolve: verify says so
        return {}
    wanted = {name: shape for name, shape in shapes.items() if name.endswith((".w", ".mask")) and len(shape)}
    if sum(float(np.prod([float(n) for n in shape])) for shape in wanted.values()) > SMALL:
        return {}
    return {name: rng.random(shape) if name.endswith(".w") else rng.integers(0, 2, shape).astype(float)
            for name, shape in wanted.items() if min(shape) >= 0}


def run_a_little(graph: Graph) -> None:
    """What is accepted is explained, goes through the passes, and runs on both sides, without being compiled."""
    cells = sum(p.size for p in graph.populations)
    if cells * graph.batch > SMALL:
        return
    read_sets(graph)
    passed = run_passes(graph, pipeline()).graph
    width = sum(p.size for p in graph.populations for _ in graph.cell(p.cell).inputs)
    protocol = Protocol((Phase("all", STEPS, 1, gates=tuple((gate, (1.0,)) for gate in graph.gates)),), ("all",))
    samples, seeds = np.full((STEPS, width), 0.5), list(range(graph.seeds))
    Interpreter(passed)
    with plain_python(), np.errstate(all="ignore"):
        Native(lower(passed), protocol, samples, seeds).run(STEPS)
