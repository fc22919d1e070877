"""`cortexc bench speed`: microseconds per step and ratios, measured side by side in one run, on one core.

Yardsticks: the hand-written loops of a folder of anchor scripts (`--set anchors=FOLDER`, CORTEXC_ANCHORS, or
../shared/anchors when it is there). Without them the rows that need them are left out and named.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.backends.feeding import input_columns
from cortexc.compiler.backends.lowering import Program, lower
from cortexc.compiler.backends.native import Native, Single
from cortexc.compiler.bench.runs import figure
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.compiler.microcircuits.pal import Pal, build
from cortexc.compiler.passes import PIPELINE, Request, Target, run_pipeline
from cortexc.compiler.passes.partition import Partition

# ---- the nets, with seeded weights and stimuli

HOLD = 100
"""Steps per presentation."""
FIG3 = Pal((5, 20, 10, 20, 5), eta_bw=(50.0,), eta_PI=(5.0,), sigma=(0.05,))
DIGITS = Pal((64, 30, 10), eta_fw=(1.0, 0.005), eta_IP=(0.02,), eta_PI=(0.02,), eta_bw=(0.2,), alpha=(1e-6,),
             sigma=(0.01,))
LEARNING = ("learn_forward", "learn_lateral", "learn_feedback", "noise", "target")
NETS = {"fig3": (FIG3, ("learn_lateral", "learn_feedback", "noise")), "digits": (DIGITS, LEARNING)}


@dataclass(frozen=True)
class Job:
    """A lowered net with `steps` steps of stimulus; the anchors' settings (all that learns is on)."""

    program: Program
    protocol: Protocol
    samples: np.ndarray
    recorded_noise: np.ndarray | None


def random_weights(graph: Graph, seed: int, span: float = 1.0) -> Graph:
    """Uniform weights and normal somata from one generator."""
    rng = np.random.default_rng(seed)
    arrays = {f"{q.name}.w": rng.uniform(-span, span, weight_shape(graph, q)) for q in graph.projections
              if weight_shape(graph, q)}
    arrays |= {f"{p.name}.u": rng.normal(size=p.size) for p in graph.populations if graph.cell(p.cell).state("u")}
    return graph.with_(arrays=arrays)


def job(circuit: Pal, gates: tuple[str, ...], steps: int, passes: tuple[str, ...], *, granularity: str = "network",
        noise: str = "recorded", record_every: int = 0, graph: Graph | None = None) -> Job:
    """`noise` recorded draws everything beforehand; legacy and counter draw while running."""
    graph = random_weights(build(replace(circuit, noise=noise)), 1) if graph is None else graph
    observed = frozenset(f"{q.name}.w" for q in graph.projections if q.name.startswith("BPP"))
    target = Target(granularity, without=frozenset(PIPELINE) - {*passes, Partition.name})
    program = lower(run_pipeline(graph, Request(observed), target).graph)
    rng = np.random.default_rng(2)
    presentations = -(-steps // HOLD)
    phase = Phase("all", presentations, HOLD, gates=tuple((g, (1.0,)) for g in gates),
                  records=(("weights", Record(every=record_every, offset=record_every - 1)),) if record_every else ())
    streams = (Stream("weights", tuple(sorted(observed))),) if record_every else ()
    draws = rng.normal(size=(presentations * HOLD, program.noise_width)) if noise == "recorded" else None
    samples = rng.uniform(0.0, 1.0, (presentations, input_columns(graph)[-1][1].stop))
    return Job(program, Protocol((phase,), ("all",), streams), samples, draws)


FULL = ("fold", "eliminate-lookahead", "fuse-update")
REPEATS = 5


def rows(options: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows {metric, value, unit, baseline}. Options: anchors (folder), parts (names), quick (bool)."""
    parts: dict[str, Callable[[dict], Iterator[dict]]] = {
        "native": native_against_anchors, "lava": lava_against_native, "granularity": granularities,
        "hoisted": hoisted, "sizes": sizes}
    wanted = options.get("parts") or list(parts)
    with one_core():
        found = [row for name in wanted for row in parts[name](options)]
    if "sizes" in wanted and options.get("output"):
        plot_sizes(found, Path(options["output"]) / "cost_against_size.png")
    return found


def row(metric: str, value: float, unit: str, baseline: str) -> dict[str, Any]:
    return {"metric": metric, "value": float(f"{value:.4g}"), "unit": unit, "baseline": baseline}


@contextmanager
def cores(every: bool) -> Iterator[None]:
    """Binds this process (and the Lava processes it starts) to one core or to every one, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1) if every else {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


one_core, all_cores = partial(cores, False), partial(cores, True)


def best(functions: dict[str, Callable[[], float]], repeats: int = REPEATS) -> dict[str, float]:
    """The least of `repeats` interleaved measurements of each."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(function())
    return {name: min(values) for name, values in times.items()}


def timed_native(work: Job, kind: type[Native] = Native) -> Callable[[], float]:
    """Microseconds per step of one pass over the job, kernels compiled, all inputs drawn beforehand."""
    native = kind(work.program, work.protocol, work.samples, [1], work.recorded_noise)
    steps = native.feed.total
    block = native.feed.block(steps)
    native._block(native.feed.block(0))

    return timed(lambda: native._block(block), steps)


# ---- native against hand-written loops


def anchors_folder(options: dict[str, Any]) -> Path | None:
    """Where the hand-written loops are. Raises X184 where a folder is named that does not have them."""
    named = options.get("anchors") or os.environ.get("CORTEXC_ANCHORS")
    folder = Path(named or "../shared/anchors")
    if (folder / "numba_kernel.py").is_file():
        return folder
    if named:
        raise CortexError("X184", f"there is no numba_kernel.py in '{folder}'.", "Check anchors or CORTEXC_ANCHORS.")
    return None


def anchor(folder: Path, module: str, net_name: str, steps: int, **options: str) -> Callable[[], float]:
    """Microseconds per step of an anchor's own loop."""
    sys.path.insert(0, str(folder))
    try:
        common, kernel = importlib.import_module("common"), importlib.import_module(module)
    finally:
        sys.path.remove(str(folder))
    net = common.NETS[net_name]()
    state, (inputs, targets, white) = common.random_state(net, 123), common.stimulus(net, steps)
    if module == "numpy_layers":
        return timed(lambda: kernel.run(net, state, inputs, targets, white, net.flags), steps)
    simulator = kernel.Simulator(net, state, **options)
    targets, white = simulator.lay.pad_target(targets), simulator.lay.pad_noise(white)
    simulator.advance(inputs[:1], targets[:1], white[:1], net.flags)
    return timed(lambda: simulator.advance(inputs, targets, white, net.flags), steps)


def timed(function: Callable[[], object], steps: int) -> Callable[[], float]:
    """Microseconds of the processor's time per step."""
    return lambda: clocked(function, steps, time.process_time)


def clocked(function: Callable[[], object], steps: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Microseconds per step."""
    began = clock()
    function()
    return (clock() - began) / steps * 1e6


def native_against_anchors(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    steps, folder = 10_000 if options.get("quick") else 100_000, anchors_folder(options)
    for name, (circuit, gates) in NETS.items():
        work = job(circuit, gates, steps, FULL)
        functions = {"native": timed_native(work), "float32": timed_native(work, Single)}
        if folder:
            functions["numba"] = anchor(folder, "numba_kernel", name, steps, variant="libm")
            functions["C"] = anchor(folder, "c_kernel", name, steps)
            functions["numpy"] = anchor(folder, "numpy_layers", name, steps // 20)
        times = best(functions)
        yield row(f"native step, {name}", times["native"], "us", "float64, one core, plasticity on")
        yield row(f"float32 / native, {name}", times["float32"] / times["native"], "ratio", "the same in float64")
        if "C" in times:
            yield row(f"float32 / C, {name}", times["float32"] / times["C"], "ratio", "hand-written C loop, float64")
        yield row(f"float32 differs, {name}", _apart(job(circuit, gates, 1000, FULL)), "relative",
                  "root mean square of the weights' difference from float64 after 1000 steps, over their change's")
        for other, text in (("numba", "hand-written numba loop with libm's exp"), ("C", "hand-written C loop")):
            if other in times:
                yield row(f"native / {other}, {name}", times["native"] / times[other], "ratio", text)
        if "numpy" in times:
            yield row(f"numpy per layer / native, {name}", times["numpy"] / times["native"], "ratio",
                      "per-layer numpy loop")


def _apart(work: Job) -> float:
    """How far single precision leads away, in parts of what was learnt."""
    given = (work.program, work.protocol, work.samples, [1], work.recorded_noise)
    runs = [kind(*given) for kind in (Native, Single)]
    names = [f"{q.name}.w" for q in work.program.graph.projections if work.program.graph.rule_of(q)]
    start = [runs[0].value(name).copy() for name in names]
    for runner in runs:
        runner.run()
    moved, apart = (np.concatenate([(a - b).ravel() for a, b in pairs]) for pairs in (
        zip((runs[0].value(n) for n in names), start, strict=True),
        ((runs[0].value(n), runs[1].value(n)) for n in names)))
    return float(np.sqrt((apart ** 2).mean() / (moved ** 2).mean()))


# ---- Lava against native


def lava_against_native(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Same noise drawn while running (the legacy stream), same recordings (weights every 1000 steps)."""
    from cortexc.compiler.backends.lava import LavaRun

    steps = 20_000 if options.get("quick") else 300_000
    for name, (circuit, gates) in NETS.items():
        work = job(circuit, gates, steps, FULL, noise="legacy", record_every=1000)

        def native(work: Job = work) -> float:
            runner = Native(work.program, work.protocol, work.samples, [1])
            runner._block(runner.feed.block(0))
            return clocked(lambda: runner.run(block=10_000), runner.feed.total)

        def lava(work: Job = work) -> float:
            with LavaRun(work.program, work.protocol, work.samples, [1]) as runner:
                runner.host.start()
                return clocked(runner.run, runner.feed.total)

        times = best({"native": native, "lava": lava}, 3)
        yield row(f"Lava network step, {name}", times["lava"], "us", "noise drawn and weights recorded")
        yield row(f"Lava network / native, {name}", times["lava"] / times["native"], "ratio",
                  "the same kernels in a plain loop")


def granularities(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Steps of the digits net at each granularity, and of the same process graph with empty steps."""
    steps = 500 if options.get("quick") else 3000
    with all_cores():
        times = best({g: _lava_step(g, steps, empty=False) for g in ("population", "area", "network")}
                     | {"empty": _lava_step("population", steps, empty=True),
                        "loihi": _lava_step("population", steps, empty=False, synchronisation="loihi")}, 3)
    for granularity in ("population", "area", "network"):
        yield row(f"Lava {granularity} step, digits", times[granularity], "us", "two cores")
    yield row("Lava population step, digits, Loihi protocol", times["loihi"], "us", "two cores")
    yield row("Lava population / empty, digits", times["population"] / times["empty"], "ratio",
              "the same Lava process graph with empty steps")
    yield row("Lava population / network, digits", times["population"] / times["network"], "ratio",
              "one process, many steps per Lava step")


def _lava_step(granularity: str, steps: int, empty: bool, synchronisation: str = "async") -> Callable[[], float]:
    from cortexc.compiler.backends.lava import LavaRun

    work = job(DIGITS, LEARNING, steps * (50 if granularity == "network" else 1), FULL, granularity=granularity,
               noise="counter")

    def measure() -> float:
        with tempfile.TemporaryDirectory() as folder, \
                LavaRun(work.program, work.protocol, work.samples, [1], folder=folder,
                        synchronisation=synchronisation) as runner:
            if empty:
                _empty_steps(Path(folder) / "network_lava.py")
            runner.host.start()
            runner.host.limit[0] = runner.feed.total
            lava_steps = steps if granularity != "network" else \
                -(-runner.feed.total // runner.host.description["block"])
            return clocked(lambda: runner.host.supervisor.run(lava_steps),
                           work.protocol.total if granularity == "network" else steps)

    return measure


def _empty_steps(path: Path) -> None:
    """Leaves only the sends and receives of every process model."""
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.strip().startswith(("self.compute(", "self.begin(", "self.end("))]
    kept = [line + "\n        pass" if line == "    def step(self):" else line for line in kept]
    path.write_text("\n".join(kept) + "\n")


# ---- hoisting


def hoisted(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """784-100-10 plastic and hoisted, against the same circuit with that projection static and its product cached."""
    circuit = Pal((784, 100, 10), eta_fw=(1.0, 0.005), eta_IP=(0.02,), eta_PI=(0.02,), eta_bw=(0.2,), alpha=(1e-6,),
                  sigma=(0.01,))
    steps = 5_000 if options.get("quick") else 30_000
    passes = ("fold", "eliminate-lookahead", "hoist-constant-input", "fuse-update")
    graph = random_weights(build(replace(circuit, noise="recorded")), 1, 0.1)
    unlearnt = replace(graph.synapse("bottom_up"), name="bottom_up_static", rule=None)
    static = graph.with_(synapses=(*graph.synapses, unlearnt), projections=tuple(
        replace(q, synapse=unlearnt.name, parameters=(), gate=None) if q.name == "WPP_0" else q
        for q in graph.projections))
    times = best({"hoisted": timed_native(job(circuit, LEARNING, steps, passes, graph=graph)),
                  "static": timed_native(job(circuit, LEARNING, steps, passes, graph=static)),
                  "plain": timed_native(job(circuit, LEARNING, min(steps, 5_000), FULL, graph=graph))}, 3)
    yield row("hoisted step, 784-100-10", times["hoisted"], "us", "plastic input projection, low-pass on")
    yield row("hoisted / static, 784-100-10", times["hoisted"] / times["static"], "ratio",
              "input projection static, its product cached")
    yield row("not hoisted / hoisted, 784-100-10", times["plain"] / times["hoisted"], "ratio", "fused update")


# ---- cost against size


def plot_sizes(found: list[dict[str, Any]], path: Path) -> None:
    """Microseconds per step against units per layer, both logarithmic."""
    with figure(path, saved={"dpi": 110, "bbox_inches": "tight"}, figsize=(6, 4)) as (_, axes):
        for label in ("native", "Lava network", "Lava population", BOUND):
            points = [(int(r["metric"].rsplit("-", 1)[1]), r["value"]) for r in found
                      if r["metric"].startswith(f"{label} step, ") and r["metric"].count("-") == 2]
            axes.loglog(*zip(*points, strict=True), "--" if label == BOUND else "o-", label=label)
        axes.set(xlabel="units per layer (n-n-n)", ylabel="us per step", title="Cost of a step, everything plastic")
        axes.legend(frameon=False)


BOUND = "memory-bound"
LARGEST_ON_LAVA = 2000
"""Units per layer."""


def copied(count: int) -> float:
    """Bytes per microsecond that a copy of so many numbers reads and writes, at best."""
    source, target = np.ones(count), np.zeros(count)
    return 2 * source.nbytes / best({"copy": timed(lambda: np.copyto(target, source), 1)})["copy"]


def sizes(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """n-n-n nets, everything plastic: native, and Lava at two granularities, beside what moving the weights takes."""
    quick, speed = options.get("quick"), copied(2**25)
    yield row("memory bandwidth", speed / 1e3, "GB/s", "stream copy, read and written")
    for n in (10, 50, 200) if quick else (10, 30, 100, 300, 1000, 2000, 4000):
        circuit = Pal((n, n, n), eta_fw=(1.0 / n,), eta_IP=(0.02 / n,), eta_PI=(0.02 / n,), eta_bw=(0.2 / n,),
                      alpha=(1e-6,), sigma=(0.01,))
        steps = int(np.clip(4e8 / (5 * n * n + 2000) / (20 if quick else 1), 100, 50_000)) // HOLD * HOLD
        work = job(circuit, LEARNING, max(steps, HOLD), FULL)
        yield row(f"native step, {n}-{n}-{n}", best({"n": timed_native(work)}, 2)["n"], "us", "one core")
        weights = sum(size for slot, size in work.program.slots.sizes.items() if slot.endswith((".w", ".low_pass")))
        yield row(f"{BOUND} step, {n}-{n}-{n}", 16 * weights / speed, "us", "weights read and written at that speed")
        for granularity in ("network", "population") if n <= LARGEST_ON_LAVA else ():
            yield row(f"Lava {granularity} step, {n}-{n}-{n}", _lava_size(circuit, granularity, n, bool(quick)), "us",
                      "two cores")


def _lava_size(circuit: Pal, granularity: str, n: int, quick: bool) -> float:
    from cortexc.compiler.backends.lava import LavaRun

    steps = 200 if n >= 1000 or quick else 1000
    work = job(circuit, LEARNING, steps, FULL, granularity=granularity, noise="counter")
    with all_cores(), LavaRun(work.program, work.protocol, work.samples, [1]) as runner:
        runner.host.start()
        runner.run(HOLD // 2)
        return clocked(runner.run, runner.feed.total - HOLD // 2)
