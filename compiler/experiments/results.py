"""What a run leaves: results, final arrays, recordings, and the files of the run folder.

    experiment.toml       everything that fixes the run, resolved
    graph.ir              the circuit as it was before the passes; arrays.safetensors: the arrays it started with
    checkpoint.safetensors
    final.safetensors     what a new run can start from; states.safetensors: every state that the program keeps
    records.npz           STREAM/QUANTITY, and the curves that [record] asks for; of events `.step`, `.cell`, `.value`
    report.html           what was learnt, spikes, weights, the circuit, where time went
    results.json          what `run --json` prints; written last

X146 a folder that holds a run already; X152 weights that are not finite.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cortexc.compiler.experiments.checkpoints import NAME, arrays_sha256
from cortexc.compiler.experiments.compilation import Compiled
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.files import write_npz, write_safetensors, write_text
from cortexc.compiler.experiments.quantities import of_cells, synaptic
from cortexc.compiler.experiments.running import Running
from cortexc.compiler.experiments.tasks.plans import Measured
from cortexc.compiler.ir import CortexError, show_graph
from cortexc.compiler.ir.errors import CortexWarning
from cortexc.compiler.passes.group_weights import whole_of
from cortexc.compiler.passes.widths import COUNTER

# ---- curves of what was recorded

Curve = np.ndarray
LISTED = 1000
"""Curves of up to so many rows are listed whole in the results."""


def angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Degrees between matrices under the Frobenius product; over the last two axes. nan where one is 0."""
    with np.errstate(all="ignore"):
        product = (first * second).sum((-2, -1))
        norms = np.sqrt((first ** 2).sum((-2, -1))) * np.sqrt((second ** 2).sum((-2, -1)))
        return np.degrees(np.arccos(np.clip(product / norms, -1, 1)))


def transpose_angle(records: Any, stream: str, feedback: str, forward: str) -> Curve:
    """Angle between B and W^T, degrees: (rows, seeds)."""
    return angle(records.rows(stream, feedback), records.rows(stream, forward).swapaxes(-1, -2))


def squared_error(records: Any, stream: str, first: str, second: str) -> Curve:
    """Squared difference, averaged over cells: (rows, batch)."""
    return ((records.rows(stream, first) - records.rows(stream, second)) ** 2).mean(axis=-1)


def curves(experiment: Experiment, records: Any) -> dict[str, Curve]:
    """`STREAM/angle B W` and `STREAM/error A B` for what [record] asks for: (rows, seeds)."""
    drawn = (("angle", transpose_angle), ("error", squared_error))
    return {f"{stream}/{what} {first} {second}": curve(records, stream, first, second)
            for stream, table in experiment.record.items() for what, curve in drawn
            for first, second in getattr(table, f"{what}s")}


def summaries(experiment: Experiment, found: Mapping[str, Curve]) -> dict[str, Any]:
    """Per curve: rows, the first and last value of each seed, and for errors the mean over the last epoch."""
    result = {}
    for name, curve in found.items():
        entry: dict[str, Any] = {"rows": len(curve)}
        if len(curve):
            entry |= {"first": curve[0].tolist(), "last": curve[-1].tolist()}
        if len(curve) <= LISTED:
            entry["values"] = curve.tolist()
        per_epoch = experiment.protocol.curve_rows
        if "/error " in name and len(curve) >= per_epoch > 0:
            entry["last_epoch"] = curve[-per_epoch:].mean(axis=0).tolist()
        result[name] = entry
    return result


def epoch_means(curve: Curve, per_epoch: int) -> Curve:
    """(epochs, seeds): means over the completed epochs of `per_epoch` rows each."""
    epochs = len(curve) // per_epoch if per_epoch else 0
    return curve[:epochs * per_epoch].reshape(epochs, per_epoch, *curve.shape[1:]).mean(axis=1) if epochs else \
        np.zeros((0, *curve.shape[1:]))


Arrays = dict[str, np.ndarray]
FINAL, STATES, RESULTS = "final.safetensors", "states.safetensors", "results.json"


# ---- arrays


class Read(Mapping[str, np.ndarray]):
    """Arrays that are made when they are asked for: of a large network there is room for one at a time."""

    def __init__(self, made: Mapping[str, Callable[[], np.ndarray]]):
        self.made = made

    def __getitem__(self, name: str) -> np.ndarray:
        return self.made[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self.made)

    def __len__(self) -> int:
        return len(self.made)


def weights(run: Running) -> Read:
    """All weights now: `projection.w` -> (copies, n_post, n_pre)."""
    graph, parts = run.compiled.report.graph, run.compiled.parts
    kept = [f"{q.name}.w" for q in graph.projections if graph.class_of(q.name).kind.weighted]
    return Read({name: partial(run.value, name) for name in dict.fromkeys(whole_of(each, parts) for each in kept)})


def states(run: Running) -> Arrays:
    """Every state of every population that the program keeps: `population.state` -> (batch, n)."""
    return _values(run, of_cells(run.compiled.report.graph))


def final_arrays(run: Running) -> Mapping[str, np.ndarray]:
    """What a new run of the circuit can start from: weights, optimiser and synaptic states, and the states of those
    populations of which a pass has removed none; in the shape in which a graph binds them. Adam's moments are not among
    them: a new run begins with a new optimiser."""
    graph, kept = run.compiled.graph, states(run)
    found = _values(run, (name for name in synaptic(graph) if not name.endswith(".w")))
    for p in graph.populations:
        own = [f"{p.name}.{s.name}" for s in graph.cell(p.cell).states]
        found |= {name: kept[name] for name in own} if set(own) <= set(kept) else {}
    made: dict[str, Callable[[], np.ndarray]] = {**weights(run).made}
    made |= {name: partial(found.__getitem__, name) for name in found}
    return Read(made if graph.batch > 1 else {name: partial(_first, each) for name, each in made.items()})


def _first(made: Callable[[], np.ndarray]) -> np.ndarray:
    return np.asarray(made()[0])


def _values(run: Running, names: Iterable[str]) -> Arrays:
    found = {}
    for name in names:
        try:
            found[name] = run.value(name)
        except KeyError:
            continue  # a pass or the lowering has removed it
    return found


def check_finite(run: Running) -> None:
    """Raises X152 with the first weights that are not finite, and warns (X206) of the first state that is NaN."""
    for name, array in weights(run).items():
        if not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise CortexError("X152", f"'{name}' has {count} values that are not finite after {run.position} "
                                      "steps.", "Lower the learning rates.")
    warn_of_nan(states(run), run.position)


def still_numbers(run: Running) -> bool:
    """Whether no weight or state is NaN so far; warns (X206) of the first that is."""
    return not (warn_of_nan(weights(run), run.position) or warn_of_nan(states(run), run.position))


def warn_of_nan(arrays: Mapping[str, np.ndarray], steps: int) -> bool:
    """X206 of the first quantity with values that are NaN; whether there is one."""
    for name, array in arrays.items():
        if count := int(np.isnan(array).sum()):
            warnings.warn(CortexWarning("X206", f"'{name}' has {count} values that are NaN after {steps} steps.",
                                        "Look for 0 / 0, and for inf - inf."), stacklevel=4)
            return True
    return False


def seed_sha256(found: Mapping[str, np.ndarray], index: int, seeds: int) -> str:
    """Digest of one seed's weights (copies, ...): the same whether the seed ran alone or in a batch."""
    def own(name: str) -> np.ndarray:
        array = found[name]
        share = max(len(array) // seeds, 1)
        start = index * share if len(array) >= seeds else 0
        return array[start] if share == 1 else array[start:start + share]

    return arrays_sha256(Read({name: partial(own, name) for name in found}))


# ---- results


def results(run: Running) -> dict[str, Any]:
    """What `run --json` prints and `results.json` holds. `steps_per_second` is of this call alone, without compiling,
    starting and checkpoints."""
    experiment, task, plan = run.experiment, run.experiment.protocol, run.plan
    with run.timed("readout"):
        found, scored = weights(run), task.scores(plan, run.records, run.position)
        measured = task.measures(plan, run.records, run.position)
        drawn = summaries(experiment, curves(experiment, run.records))
    tests, validations = ([s for s in scored if s.phase == phase] for phase in ("test", "validation"))
    seconds = run.seconds.get("run", 0.0) - run.run_checkpoints
    return {**_what(run), "steps": run.position, "total_steps": run.total, "resumed_from": run.resumed_from,
            "steps_per_second": run.steps_run / seconds if run.steps_run and seconds > 0 else 0.0,
            "wall_s": sum(run.seconds.values()), "seconds": dict(run.seconds), **_per_seed(run, found, tests),
            "finite": all(bool(np.isfinite(array).all()) for array in found.values()), "tests": _score_table(tests),
            "validations": _score_table(validations), **measured, "curves": drawn,
            "output": str(run.folder) if run.folder else None, "machine": machine()}


def _what(run: Running) -> dict[str, Any]:
    experiment, compiled = run.experiment, run.compiled
    on_lava = experiment.run.backend == "lava"
    return {"name": experiment.name, "circuit": compiled.graph.name,
            "variant": experiment.model.options.get("variant"), "data": compiled.plan.source,
            "backend": experiment.run.backend, "granularity": experiment.run.granularity if on_lava else "network",
            "completed": run.position >= run.total, "graph_sha256": run.identity.graph,
            "experiment_sha256": run.identity.experiment,
            "passes": [{"name": r.name, "seconds": r.seconds} for r in compiled.report.records],
            **({"classes": list(compiled.plan.words)} if compiled.plan.words else {}),
            **({"set": run.changes} if run.changes else {}),
            **({"precision": _precision(run)} if experiment.precision.weights else {})}


def _precision(run: Running) -> dict[str, Any]:
    """Bits, the share of weights at their limits, and with `count` how often quantities and tags saturated, summed over
    cells or synapses (none where that was not counted)."""
    graph = run.compiled.report.graph
    at_limit = {}
    for q in graph.projections:
        low, high = graph.class_of(q.name).bounds
        if graph.class_of(q.name).unit:
            w, low = run.value(f"{q.name}.w"), low if low < 0 else -1.0  # 0 without a sign is no saturation
            at_limit[q.name] = float(((w >= high) | (w <= low)).mean())
    counters = [name for name in of_cells(graph) if name.endswith(COUNTER)]
    counters += [f"{q.name}.{s.name}" for q in graph.projections if (rule := graph.rule_of(q)) for s in rule.states
                 if s.name.endswith(COUNTER)]
    saturated = {name.removesuffix(COUNTER): int(array.sum())
                 for name, array in _values(run, counters).items() if array.any()}
    counted, loud = run.experiment.precision.count, [each.warning() for each in run.underflow if each.loud]
    return {**msgspec.to_builtins(run.experiment.precision), "weights_at_limit": at_limit,
            "saturated": saturated if counted else None, "underflow": [asdict(each) for each in run.underflow],
            "warnings": [{"code": each.code, "message": each.message, "hint": each.hint} for each in loud]}


def _per_seed(run: Running, found: Mapping[str, np.ndarray], tests: list[Measured]) -> dict[str, Any]:
    seeds = run.experiment.run.seeds
    digests = [seed_sha256(found, i, len(seeds)) for i in range(len(seeds))]
    last = list(tests[-1].values) if tests else [None] * len(seeds)
    rows = [{"seed": s, "test_accuracy": a, "weights_sha256": d} for s, a, d in zip(seeds, last, digests, strict=True)]
    whole = digests[0] if len(seeds) == 1 else arrays_sha256(found)
    return {"test_accuracy": tests[-1].mean if tests else None, "weights_sha256": whole, "seeds": rows}


def _score_table(found: list[Measured]) -> list[dict[str, Any]]:
    return [{"epoch": s.epoch + 1, "step": s.position, "accuracy": list(s.values), "mean": s.mean} for s in found]


def machine() -> dict[str, Any]:
    """What ran it, for speed """
    return {"system": platform.platform(), "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__}


# ---- the run folder


START = ("graph.ir", "arrays.safetensors", "experiment.toml")
MANIFEST = "manifest.json"
REPORT = "report.html"
ENDS = (RESULTS, "records.npz", STATES, FINAL, REPORT)
"""Files of a run folder, beside the checkpoint: what the run starts from, and what it leaves at its end."""


def check_run_folder(folder: Path, files: Sequence[str] = (NAME, *START, *ENDS)) -> None:
    """Raises X146 where a run, or anything else, has left one of these files in the folder."""
    found = [name for name in files if (folder / name).exists()]
    if found:
        how = "--resume goes on with it, --force replaces it" if NAME in found else "--force overwrites them"
        raise CortexError("X146", f"folder '{folder}' holds a run already, or files of the same names: "
                                  f"{', '.join(found)}.", f"Choose another folder with -o; or {how}.")


def check_not_compiled(folder: Path) -> None:
    """Raises X132 for a folder that `compile` has written: a run would overwrite its graph."""
    if (folder / MANIFEST).is_file():
        raise CortexError("X132", f"folder '{folder}' holds a compiled program.",
                          "`cortexc run FOLDER` runs it, into FOLDER/run; or choose another one with -o.")


def remove_results(folder: Path) -> None:
    """Removes what an earlier run left at its end, the summary first; its checkpoint stays until it is replaced."""
    for name in ENDS:
        (folder / name).unlink(missing_ok=True)


def write_start(folder: Path, compiled: Compiled) -> None:
    """What the run starts from."""
    write_text(folder / "graph.ir", show_graph(compiled.graph))
    write_safetensors(folder / "arrays.safetensors", compiled.graph.arrays)
    write_text(folder / "experiment.toml", compiled.experiment.text())


def write_arrays(run: Running, folder: Path) -> None:
    """All that the run leaves but its results. Raises X131."""
    write_safetensors(folder / FINAL, final_arrays(run))
    write_safetensors(folder / STATES, states(run))
    records = run.records
    recorded = {f"{stream.name}/{quantity}": records.rows(stream.name, quantity)
                for stream in run.plan.protocol.streams for quantity in stream.quantities if not stream.window}
    write_npz(folder / "records.npz", recorded | records.taken() | curves(run.experiment, records))


def write_report(run: Running, folder: Path, table: Mapping[str, Any]) -> None:
    """The page of a run. Raises X131."""
    from cortexc.compiler.report.run_page import Recorded, run_page

    recorded = Recorded(run.records.taken(), curves(run.experiment, run.records), run.value, run.plan.spiking)
    write_text(folder / REPORT, run_page(table, run.compiled.graph, recorded))
