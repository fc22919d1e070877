"""A graph in memory, run and verified on any backend: no experiment, no files.

X208 no whole number of steps, or none that can be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np

from cortexc.compiler.backends.feeding import input_columns
from cortexc.compiler.backends.lowering.threads import check_threads
from cortexc.compiler.backends.table import BACKENDS, Given, Runner, Work
from cortexc.compiler.experiments.circuits import with_seeds
from cortexc.compiler.experiments.compilation import check_backend, check_installed, check_recorded
from cortexc.compiler.experiments.quantities import numbers, of_cells, shaped, states
from cortexc.compiler.experiments.results import Read, warn_of_nan
from cortexc.compiler.experiments.spikes import Spikes
from cortexc.compiler.experiments.tables import converted
from cortexc.compiler.experiments.target import left_out
from cortexc.compiler.experiments.tasks.plans import When, is_whole
from cortexc.compiler.front.builder import Network
from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.compiler.ir.verify import verify
from cortexc.compiler.passes import Request, Target, run_pipeline
from cortexc.compiler.passes.partition import check_granularity

GRANULARITIES = ("network", "area", "population")
NAME, MOST = "simulation", 2**53


@dataclass(frozen=True)
class Simulation(Mapping[str, np.ndarray]):
    """What `simulate` recorded, by quantity: (rows, batch, n) of cells, (rows, copies, n_post, n_pre) of synapses.

    `steps` (rows,): after how many steps each row was taken; `time` (rows,): the same in ms. `final`: weights and
    states after the last step, without the axis of rows;
    `graph.with_(arrays={**graph.arrays, **simulation.final})` begins from them: exactly as if it went on, where nothing
    older counts (`prev(prev(x))`, messages on their way by a delay, Adam's moments).
    """

    recorded: Mapping[str, np.ndarray]
    steps: np.ndarray
    final: Mapping[str, np.ndarray]
    dt: float = 1.0
    seeds: tuple[int, ...] = ()

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` of what was recorded, with dims seed (or element, of samples), time and cell_POPULATION,
        or post_PROJECTION and pre_PROJECTION of matrices; the coordinate time is in ms. Raises X216 where xarray is not
        installed."""
        try:
            import xarray
        except ImportError:
            raise CortexError("X216", "xarray is not installed.", "pip install xarray.") from None
        arrays = {}
        for name, array in self.recorded.items():
            owner, _, key = name.partition(".")
            of_cells, of_matrices = ["post" if key == "current" else "cell"], ["post", "pre"]
            own = {3: of_cells, 4: of_matrices}.get(array.ndim, [f"axis_{i}" for i in range(array.ndim - 2)])
            axes = ["seed" if array.shape[1] == len(self.seeds) else "element", "time", *(f"{a}_{owner}" for a in own)]
            arrays[name] = (axes, np.swapaxes(array, 0, 1))
        found = xarray.Dataset(arrays, {"time": ("time", self.time, {"units": "ms"})})
        fits = len(self.seeds) == found.sizes.get("seed", 0)
        return found.assign_coords(seed=list(self.seeds)) if fits and self.seeds else found

    @property
    def time(self) -> np.ndarray:
        return self.steps * self.dt

    def spikes(self, message: str, element: int = 0) -> Spikes:
        """Events of a recorded message: `steps`, `cells`, `rates()` in Hz, `irregularity()`, `correlations()`. Raises
        X151 where it was not recorded, X203 for the element, X208 where not every step was."""
        if message not in self.recorded:
            raise unknown("X151", "recorded quantity", message, self.recorded)
        values = self.recorded[message]
        if not is_whole(element) or not -values.shape[1] <= element < values.shape[1]:
            raise CortexError("X203", f"element is {element!r}; '{message}' has elements 0 to {values.shape[1] - 1}.")
        if len(self.steps) and self.steps[-1] != len(self.steps):
            raise CortexError("X208", f"'{message}' was recorded every {self.steps[0]} steps; spikes need every step.")
        steps, cells = np.nonzero(values[:, element])
        return Spikes(steps, cells, values.shape[-1], self.dt, 0, len(values))

    def _repr_html_(self) -> str:
        from cortexc.compiler.experiments.plots import page

        return page(self)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in self.recorded.items())
        return f"Simulation of {self.steps[-1] if len(self.steps) else 0} steps: {shapes or 'nothing recorded'}"

    def __getitem__(self, quantity: str) -> np.ndarray:
        return self.recorded[quantity]

    def __iter__(self) -> Iterator[str]:
        return iter(self.recorded)

    def __len__(self) -> int:
        return len(self.recorded)


def simulate(graph: Graph | Network, steps: int | None = None, *, inputs: Mapping[str, Any] | None = None,
             record: str | Iterable[str] = (), every: int = 1, gates: Mapping[str, Any] | None = None,
             backend: str = "native", granularity: str = "network", seed: int | Sequence[int] = 1,
             noise: np.ndarray | None = None, final: bool = False, threads: int = 1,
             without: Iterable[str] = ()) -> Simulation:
    """Runs a graph, or a `Network`, for so many network steps of `graph.dt` ms each.

        rates = simulate(graph, 1000, inputs={"input.value": x}, gates={"learn": 1.0}, record=["hidden.u"])["hidden.u"]

    `steps`: without it, as many as inputs and gates that change have rows.

    `inputs`: `population.input` -> a number, (n,), (steps, n) or (steps, batch, n), in the units of the cell; 0 where
    none is given. `gates`: gate -> a number, (steps,), or when it is on, `{"at": [-1]}` or
    `{"from": 100, "until": 200, "every": 2}`; 0, which is off, where none is given. `record`: quantities,
    such as `population.state`, `population.message`, `projection.w` and `projection.current`, taken after every `every`
    steps. `seed`: one, or one per element of a seeds axis, which the graph then gets. `noise` (steps, draws): what a
    graph with `noise recorded` replays. `final`: the weights and states after the last step are returned, too.

    `threads` share each step of a network in one group, in C, to the same bits.

    The passes run as for an experiment, but for those `without`, and keep what is recorded. At one granularity all
    backends in float64 give the same bits; the interpreter where no trace waits for events (`without=["defer-decay"]`).

    Raises X111 for what is no graph, and what `check_graph` raises; X157, X150 and E601 for a
    backend or granularity that is not there; X151 for names in `record`, X201 in `inputs`, E273 in `gates`; X203 and
    X204 for values that do not fit or are not finite; X208 for numbers of steps; E277 and E278 for noise and seeds;
    E528 for recordings beyond the memory there is; E701 to E705 where Lava fails; E527 for numbers of threads; X156.
    """
    if not isinstance(final, bool):
        raise CortexError("X203", f"final is {final!r}; it must be True or False.")
    check_threads(threads)
    disabled = left_out("without", without)
    found = Prepared.of(graph, steps, inputs, record, every, gates, backend, granularity, seed, noise)
    kept = tuple(states(found.graph)) if final else ()
    work = found.work((*found.names, *kept), granularity, threads, disabled)
    with closing(BACKENDS[backend](work, found.given)) as runner:
        runner.run()
        recorded = {name: np.array(runner.records.rows(NAME, name)) for name in found.names}
        _warn_of_nan(found, runner, recorded)
        return Simulation(recorded, np.arange(every, found.steps + 1, every),
                          {name: runner.value(name) for name in kept}, found.graph.dt, tuple(found.seeds))


def _warn_of_nan(found: Prepared, runner: Runner, recorded: Mapping[str, np.ndarray]) -> None:
    """X206, also for states and plastic weights that nobody looks at."""
    graph = found.graph
    names = [*of_cells(graph), *(f"{q.name}.w" for q in graph.projections if graph.rule_of(q))]
    last = Read({name: partial(runner.value, name) for name in names if name in runner.stored})
    if not warn_of_nan(recorded, found.steps):
        warn_of_nan(last, found.steps)


def verify_graph(graph: Graph | Network, steps: int | None = None, *, inputs: Mapping[str, Any] | None = None,
                 record: str | Iterable[str] = (), every: int = 1, gates: Mapping[str, Any] | None = None,
                 backend: str = "native", granularity: str = "network", seed: int | Sequence[int] = 1,
                 noise: np.ndarray | None = None, reference: Any = "interpreter") -> Any:
    """What `simulate` with these arguments runs, against the interpreter or a `reference`: a function of the graph, its
    inputs and a number of steps, or where it stands, `FILE.py:function` (docs/verification.md).

    Two lines of one result: the graph as written, every quantity of it at every step, and the graph as `simulate`
    lowers it. Raises what `simulate` raises, and V codes for the reference.
    """
    from cortexc.compiler import verify
    from cortexc.compiler.verify.as_run import AsRun

    found = Prepared.of(graph, steps, inputs, record, every, gates, backend, granularity, seed, noise)
    work = found.work(found.names, granularity)
    as_run = AsRun(work.graph, found.protocol, lambda: BACKENDS[backend](work, found.given))
    setup = verify.Setup(found.graph, found.protocol, found.table, tuple(found.seeds), found.noise, as_run=as_run)
    return verify.verify_setup(setup, backend, granularity, reference, found.steps)


@dataclass(frozen=True)
class Prepared:
    """A graph and what it is fed with, checked. `names` are recorded."""

    graph: Graph
    steps: int
    names: tuple[str, ...]
    protocol: Protocol
    table: np.ndarray
    seeds: list[int]
    noise: np.ndarray | None

    @classmethod
    def of(cls, graph: Graph | Network, steps: int | None, inputs: Mapping[str, Any] | None,
           record: str | Iterable[str], every: int, gates: Mapping[str, Any] | None, backend: str, granularity: str,
           seed: int | Sequence[int], noise: np.ndarray | None) -> Prepared:
        graph = graph.graph if isinstance(graph, Network) else graph
        seeds = seeds_of(graph, seed) if isinstance(graph, Graph) else []
        graph = with_seeds(graph, len(seeds)) if seeds and graph.seeds == 1 else graph
        check_is_graph(graph)
        check_backend(backend)
        check_installed(backend)
        check_granularity(granularity, GRANULARITIES)
        shown, switched = _named("inputs", inputs), _named("gates", gates)
        steps = _steps(graph, shown, switched) if steps is None else steps
        for name, value, least in (("steps", steps, 0), ("every", every, 1)):
            if not is_whole(value) or not least <= value <= MOST:
                raise CortexError("X208", f"{name} is {value!r}; it must be a whole number from {least} to 2**53.")
        if not isinstance(record, Iterable):
            raise CortexError("X203", f"record is {record!r}; it must be the name of a quantity, or names.")
        names = tuple(dict.fromkeys([record] if isinstance(record, str) else map(str, record)))
        check_recorded("record", names, graph)
        table, phase = _phase(graph, steps, every, shown, switched)
        protocol = Protocol((phase,), (NAME,), (Stream(NAME, names),))
        protocol.check(graph.gates)
        return cls(graph, steps, names, protocol, table, seeds, None if noise is None else numbers("noise", noise))

    @property
    def given(self) -> Given:
        return Given(self.protocol, self.table, self.seeds, self.noise)

    def work(self, kept: Iterable[str], granularity: str, threads: int = 1,
             without: frozenset[str] = frozenset()) -> Work:
        request, target = Request(frozenset(kept)), Target(granularity, without=without)
        return Work(run_pipeline(self.graph, request, target).graph, request.observed, threads=threads)


def check_is_graph(graph: object) -> None:
    """Raises X111, and what `check_graph` raises."""
    if not isinstance(graph, Graph):
        raise CortexError("X111", f"a graph or Network is asked for, and a {type(graph).__name__} was given.",
                          "cortexc.parse_graph reads text, cortexc.load an experiment.")
    verify(graph)


def _steps(graph: Graph, inputs: Mapping[str, Any], gates: Mapping[str, Any]) -> int:
    """Rows of what changes from step to step. Raises X208 where that is no one number."""
    arrays = [(numbers(name, value), 2) for name, value in inputs.items()]
    arrays += [(numbers(name, value), 1) for name, value in gates.items() if not isinstance(value, Mapping)]
    rows = {len(array) for array, ndim in arrays if array.ndim >= ndim}
    if len(rows) != 1:
        found = f"have {', '.join(map(str, sorted(rows)))} rows" if rows else "do not change from step to step"
        raise CortexError("X208", f"steps is not said for graph '{graph.name}', and its inputs and gates {found}.",
                          "Say how many.")
    return rows.pop()


def seeds_of(graph: Graph, seed: int | Sequence[int]) -> list[int]:
    """One per element of the seeds axis: from a single one on, or as given. Raises X203."""
    try:
        given = np.array(seed, object)  # numpy knows no type of both 2**63 and -1
    except ValueError:  # arrays of different lengths
        given = np.array(None)
    if given.ndim > 1 or not given.size or not all(is_whole(each) and -2**63 <= each < 2**64 for each in given.flat):
        raise CortexError("X203", f"seed is {seed!r}; it must be a whole number below 2**64, or a sequence of them.")
    return [int(each) for each in given] if given.ndim else [int(given) + i for i in range(graph.seeds)]


def _named(what: str, values: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not isinstance(values, Mapping | None):
        raise CortexError("X203", f"{what} is a {type(values).__name__}; it must map names to values.")
    return values or {}


def _phase(graph: Graph, steps: int, every: int, inputs: Mapping[str, Any],
           gates: Mapping[str, Any]) -> tuple[np.ndarray, Phase]:
    """The table of samples, and one phase that shows a row of it in every step, or its one row in all of them."""
    columns = {name: part.stop - part.start for name, part in input_columns(graph)}
    for name in inputs:
        if name not in columns:
            raise unknown("X201", f"exogenous input of graph '{graph.name}'", name, columns)
    arrays = []
    for name, n in columns.items():
        array = shaped(name, inputs.get(name, 0.0), (), (n,), (steps, n), (steps, graph.batch, n))
        array = np.broadcast_to(array, (n,))[None] if array.ndim < 2 else array
        arrays.append(array[:, None] if array.ndim == 2 else array)
    rows, elements = np.broadcast_shapes((1, 1), *(array.shape[:2] for array in arrays))
    parts = [np.broadcast_to(array, (rows, elements, array.shape[2])) for array in arrays]
    table = np.concatenate([*parts, np.zeros((rows, elements, 0))], axis=2).swapaxes(0, 1)
    first = tuple(rows * element for element in range(elements))
    patterns = tuple((name, _pattern(name, value, steps)) for name, value in gates.items())
    count, length = (rows, 1) if rows > 1 else (min(steps, 1), max(steps, 1))
    phase = Phase(NAME, count, length, first, gates=patterns, records=((NAME, Record(every, every - 1)),))
    return table.reshape(rows * elements, table.shape[2]), phase


def _pattern(name: str, value: Any, steps: int) -> tuple[float, ...]:
    """Of a gate. Raises X122, X203, X204."""
    if not isinstance(value, Mapping):
        return tuple(shaped(name, value, (), (steps,)).reshape(-1).tolist())
    try:
        when: When = converted(dict(value), When)
    except msgspec.ValidationError as error:
        raise CortexError("X203", f"gate '{name}' is {dict(value)}: {error}.",
                          "Say at = [steps], or from, until and every.") from None
    return when.pattern(f"gate '{name}'", max(steps, 1))
