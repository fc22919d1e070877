"""What the commands do. Each takes the output and its options, and returns an exit code or None for 0."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cortexc.compiler.cli.output import Output, progress_bar
from cortexc.compiler.experiments.config import load_experiment, parse_override
from cortexc.compiler.experiments.data.loading import named_folder
from cortexc.compiler.experiments.experiment import Experiment
from cortexc.compiler.experiments.files import EXAMPLES, shipped_experiments, writable_folder
from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.library import parts
from cortexc.compiler.microcircuits import CIRCUITS

Overrides = Sequence[str] | None


def _load(experiment: str, overrides: Overrides, **run: Any) -> Experiment:
    """The experiment with --set, and with options such as --backend that are short for it; says on stderr where the
    circuit is a function, whose code is about to run. Raises D409."""
    short = {"data_dir": "data.folder"}
    extra = {short.get(key, f"run.{key}"): value for key, value in run.items() if value is not None}
    if "data.folder" in extra:
        named_folder(extra["data.folder"])
    loaded = load_experiment(experiment, {**dict(map(parse_override, overrides or ())), **extra})
    if ".py:" in loaded.model.circuit:
        _runs_code_in(loaded.model.circuit.rpartition(":")[0])
    return loaded


def _runs_code_in(place: object) -> None:
    print(f"runs code in {place}", file=sys.stderr, flush=True)


# ---- init, models, show, explain


def init(out: Output, folder: str) -> None:
    """Copies `examples/project`. Raises X130, X221."""
    place = writable_folder(folder)
    if any(place.iterdir()):
        raise CortexError("X221", f"folder '{place}' is not empty.", "Name a new one: cortexc init FOLDER.")
    files = sorted(each for each in (EXAMPLES / "project").iterdir() if each.is_file())
    for file in files:
        shutil.copyfile(file, place / file.name)
    names = [file.name for file in files]
    begin = f"cd {shlex.quote(str(place))}; cortexc run my_experiment.toml -o run"
    out.result({"folder": str(place), "files": names}, f"{place}: {', '.join(names)}\nBegin with: {begin}")


def models(out: Output) -> None:
    circuits = [{"name": c.name, "summary": c.summary, "source": c.source, "variants": dict(c.variants),
                 "starts": list(c.starts)} for c in CIRCUITS.values()]
    experiments = {name: _description(path) for name, path in shipped_experiments().items()}
    lines = ["circuits"]
    for circuit in CIRCUITS.values():
        lines.append(f"  {circuit.name:<24}{circuit.summary} ({circuit.source})")
        lines += [f"    {name:<22}{what}" for name, what in circuit.variants.items()]
    lines += ["experiments", *(f"  {name:<30}{what}" for name, what in experiments.items())]
    library = {name: {"kind": part.keyword, "summary": part.about[0]} for name, part in parts().items()}
    lines += ["library", *(f"  {each['kind']} {name:<25}{each['summary']}" for name, each in library.items())]
    out.result({"circuits": circuits, "experiments": experiments, "library": library}, "\n".join(lines))


def _description(path: Path) -> str:
    return load_experiment(path).description


def show(out: Output, experiment: str, after: str | None, granularity: str | None, overrides: Overrides) -> None:
    from cortexc.compiler.experiments.compilation import circuit_after_passes, compile_experiment
    from cortexc.compiler.ir import show_graph

    loaded = _load(experiment, overrides, granularity=granularity)
    if after and loaded.precision.weights:  # its formats take data
        with out.captured():
            compiled = compile_experiment(loaded)
        graph, report = compiled.graph, compiled.report
    else:
        graph, report = circuit_after_passes(loaded)
    text = show_graph(graph) if after is None else report.after(after)
    passes = [{"name": record.name, "seconds": record.seconds, "bits": record.bits, "changed": record.changed,
               "keeps_bits": record.keeps_bits} for record in report.records]
    out.result({"graph": graph.name, "after": after, "text": text, "passes": passes},
               f"{text}\n{_effects(report.records)}")


def _effects(records: Sequence[Any]) -> str:
    """A comment for each pass of a run: what it does to the bits of this circuit."""
    kept = "keep the bits of the circuit as written" if all(record.keeps_bits for record in records) else \
        f"other bits than as written: {', '.join(record.name for record in records if not record.keeps_bits)}"
    return "\n".join([f"# passes of a run ({kept})", *(f"#   {r.name:<22}{r.effect}" for r in records)])


def explain(out: Output, experiment: str, stock: bool, map_: str | None, formats: bool, overrides: Overrides) -> None:
    from dataclasses import asdict

    if formats:
        from cortexc.compiler.experiments.formats import format_rows, format_text

        rows = format_rows(_load(experiment, overrides))
        return out.result({"formats": [asdict(row) for row in rows]}, format_text(rows))
    from cortexc.compiler.experiments.compilation import circuit_after_passes
    from cortexc.compiler.passes.read_sets import explain_text, read_sets
    from cortexc.compiler.passes.stock import stock_notes, stock_text

    loaded = _load(experiment, overrides)
    graph, _ = circuit_after_passes(loaded, passes=False)
    if stock and loaded.precision.weights:
        return _explain_stock(out, loaded, graph)
    found = [{**asdict(each), "local": each.local} for each in read_sets(graph)]
    if stock:
        notes = [asdict(note) for note in stock_notes(graph)]
        return out.result({"graph": graph.name, "stock": notes}, f"{stock_text(graph)}{STOCK_ADVICE}\n")
    if map_:
        return _explain_map(out, graph, map_, loaded.precision.credit)
    out.result({"graph": graph.name, "read_sets": found}, explain_text(graph))


STOCK_ADVICE = """
Projections can be Lava's Dense and LearningDense in fixed point. To see which, add
  --set precision.weights=9 --set precision.messages=7 --set precision.factors=7 --set precision.map=loihi2
  --set precision.rounding=lava
(8 bits for weights without a sign); then compile --circuit --set run.stock=true, or
cortexc.lava.Circuit(..., stock=True)."""


def _explain_stock(out: Output, experiment: Any, graph: Any) -> None:
    """Of a circuit in fixed point: which projections Dense and LearningDense compute, and what would have to change."""
    from cortexc.compiler.experiments.lava_circuits import stock_circuit
    from cortexc.compiler.passes.stock_phases import phase_plan, phase_text

    quantised = stock_circuit(experiment, graph)
    plan = phase_plan(quantised)
    notes = [{"name": name, "process": each.process, "text": each.text} for name, each in plan.stock.items()]
    notes += [{"name": name, "process": "", "text": why} for name, why in plan.why.items()]
    out.result({"graph": quantised.name, "phases": plan.phases, "stock": notes}, phase_text(quantised, plan))


def _explain_map(out: Output, graph: Any, name: str, credit: str) -> None:
    from dataclasses import asdict

    from cortexc.compiler.passes.legalise import the_map
    from cortexc.compiler.passes.legality import legality_text, rule_reports, unpublished

    hardware = the_map(name)
    rules = [asdict(each) for each in rule_reports(graph, hardware, credit)]
    out.result({"graph": graph.name, "map": hardware.name, "rules": rules, "unpublished": unpublished(hardware)},
               legality_text(graph, hardware, credit))


def explain_error(out: Output, code: str | None) -> None:
    from dataclasses import asdict

    from cortexc.compiler.ir.codes import meaning, meanings

    found = [meaning(code)] if code else list(meanings().values())
    out.result({"codes": [asdict(each) for each in found]}, "\n".join(each.text for each in found))


# ---- compile, run, export


def compile_folder(out: Output, experiment: str, output: str, granularity: str | None, map_: str | None, circuit: bool,
                   force: bool, data_dir: str | None, overrides: Overrides) -> None:
    from cortexc.compiler.experiments.export import compile_to_folder
    from cortexc.compiler.experiments.lava_circuits import compile_circuit

    with out.captured():
        loaded = _load(experiment, overrides, granularity=granularity, backend="lava", data_dir=data_dir,
                       hardware=map_)
        manifest = compile_circuit(loaded, output, force) if circuit else \
            compile_to_folder(loaded, output, map_, force)
    files = "\n".join(f"  {name}" for name in manifest["files"])
    out.result(manifest, f"{manifest['circuit']}: {manifest['processes']} Lava processes in {output}\n{files}")


def fit(out: Output, experiment: str, maps: Sequence[str] | None, rate: float, measure: int,
        rules: Sequence[str] | None, data_dir: str | None, output: str | None, overrides: Overrides) -> None:
    from cortexc.compiler.experiments.fitting import fit_experiment
    from cortexc.compiler.mapping.report import fit_table, fit_text

    with out.captured():
        loaded = _load(experiment, overrides, data_dir=data_dir)
        found = fit_experiment(loaded, maps, rate, Path(output) if output else None, measure, rules or ())
    out.result(fit_table(loaded.name, found), fit_text(loaded.name, found))


def run(out: Output, experiment: str, output: str | None, backend: str | None, granularity: str | None,
        steps: int | None, resume: bool, force: bool, data_dir: str | None, overrides: Overrides,
        progress: bool | None) -> None:
    from cortexc.compiler.experiments.session import run_experiment

    loaded = _load(experiment, overrides, backend=backend, granularity=granularity, data_dir=data_dir)
    folder, edited = _run_folder(experiment, loaded, output, resume), _compiled_folder(experiment)
    if edited and loaded.run.backend == "lava":
        _runs_code_in(f"{edited}: network_lava.py, kernels.c, kernels.py")
    with out.captured(), out.warnings(), progress_bar(progress, loaded.name) as bar:
        results = run_experiment(loaded, folder, steps=steps, resume=resume, force=force, progress=bar, edited=edited)
    out.result(results, run_summary(results))


def _run_folder(experiment: str, loaded: Experiment, output: str | None, resume: bool) -> Path:
    """-o; or the run folder that was named; or the next free `runs/NAME`, of a compiled folder `FOLDER/run` (with
    --resume: the last one)."""
    if output:
        return Path(output)
    if Path(experiment).is_dir() and not _compiled_folder(experiment):
        return Path(experiment)
    base = Path(experiment) / "run" if _compiled_folder(experiment) else Path("runs") / loaded.name
    taken = [base.with_name(f"{base.name}-{i}") if i > 1 else base for i in range(1, 10_000)]
    free = next(i for i, path in enumerate(taken) if not path.exists())
    return taken[max(free - 1, 0)] if resume else taken[free]


def _compiled_folder(experiment: str) -> Path | None:
    """A folder that `compile` wrote: its own code is run, with whatever was edited."""
    return Path(experiment) if (Path(experiment) / "network_lava.py").exists() else None


def run_summary(results: Mapping[str, Any]) -> str:
    seconds = {name: value for name, value in results["seconds"].items() if value >= 0.005}
    lines = [f"{results['name']} ({results['circuit']}) on {results['backend']}, granularity {results['granularity']}",
             f"  steps            {results['steps']:,} of {results['total_steps']:,}, "
             f"{results['steps_per_second']:,.0f} per second",
             f"  time             {results['wall_s']:.2f} s: " + ", ".join(f"{k} {v:.2f}" for k, v in seconds.items())]
    if results["test_accuracy"] is not None:
        lines.append(f"  test accuracy    {100 * results['test_accuracy']:.2f} % (seeds "
                     + ", ".join(f"{s['seed']}: {100 * s['test_accuracy']:.2f}" for s in results["seeds"]) + ")")
    if results.get("test_error") is not None:
        lines.append(f"  test error       {results['test_error']:.4g} (median; seeds "
                     + _numbers([e for e in results["errors"] if e["phase"] == "test"][-1]["error"]) + ")")
    if results.get("precision"):
        lines += _saturation(results["precision"])
    for test in results.get("control", ()):
        lines.append(f"  falls            {_numbers(test['failures'])} (after {test['epochs']} epochs)")
    for name, own in results.get("spikes", {}).items():
        lines.append(f"  {name:<17}" + ", ".join(f"{what} {_numbers([v for v in values if v is not None]) or '-'}"
                                                 for what, values in own.items()))
    for name, curve in results["curves"].items():
        if curve["rows"]:
            lines.append(f"  {name}: {_numbers(curve['first'])} -> {_numbers(curve['last'])}")
    lines.append(f"  weights sha256   {results['weights_sha256']}")
    return "\n".join([*lines, f"  folder           {results['output']}"])


def _saturation(precision: Mapping[str, Any]) -> list[str]:
    """What is at either end of its format."""
    from cortexc.compiler.experiments.underflow import LISTED, Underflow

    found = [f"{name} {100 * share:.2g} %" for name, share in precision["weights_at_limit"].items() if share > 0]
    lines = [f"  at the limit     of the weights of {', of '.join(found)}"] if found else []
    counts = [f"{name} {count:,} times" for name, count in (precision["saturated"] or {}).items()]
    lines.append(f"  saturated        {', '.join(counts) or 'nothing'}" if precision["saturated"] is not None else
                 "  saturated        not counted (--set precision.count=true counts)")
    lost = [each for table in precision["underflow"] if (each := Underflow(**table)).share >= LISTED]
    less = len(precision["underflow"]) - len(lost)
    words = [*(each.text for each in lost), *([f"of {less} others below {100 * LISTED:.0f} %"] if less else [])]
    return [*lines, f"  became 0         {', '.join(words) or 'nothing'}"]


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def export(out: Output, folder: str, to: str, output: str | None) -> None:
    from cortexc.compiler.experiments.export import export_run

    with out.captured():
        if to == "lava" and (Path(folder) / "experiment.toml").is_file():
            _load(folder, None)  # the circuit is built
        path = export_run(Path(folder), to, None if output is None else Path(output))
    out.result({"format": to, "output": str(path)}, str(path))


# ---- verify, bench


def verify(out: Output, experiment: str | None, golden: str | None, on: str | None, granularity: str | None,
           steps: int | None, reference: str | None, passes: bool, data_dir: str | None, overrides: Overrides) -> int:
    from cortexc.compiler.experiments.checks import verify_experiment, verify_recording_file

    if (experiment is None) == (golden is None):
        raise CortexError("X193", "verify takes either an experiment or --golden FILE.npz.")
    named = {"--steps": steps, "--reference": reference, "--data-dir": data_dir, "--set": overrides or None}
    unused = [option for option, value in named.items() if value is not None]
    if golden is not None and unused:
        raise CortexError("X209", f"verify --golden does not use {', '.join(unused)}.", "Leave it out.")
    with out.captured():
        if golden is not None:
            found = verify_recording_file(golden, on, granularity, passes)
        else:
            found = verify_experiment(_load(str(experiment), overrides, data_dir=data_dir), on, granularity, steps,
                                      reference)
    table = found.as_dict()
    out.result(table, "\n".join(map(_verify_summary, table.get("granularities", [table]))))
    return 0 if all(each["passed"] for each in table.get("granularities", [table])) else 1


VERDICTS = {"verified": "verified", "diverged": "DIVERGED", "not-a-number": "NOT A NUMBER", "incomplete": "INCOMPLETE",
            "nothing-compared": "NOTHING COMPARED", "nothing-learnt": "NOTHING LEARNT"}


def _verify_summary(table: Mapping[str, Any]) -> str:
    lines = [f"{VERDICTS[table['outcome']]} against {table['evidence']} on {table['on']}, granularity "
             f"{table['granularity']}"]
    for line in table["lines"]:
        steps = f"{line['steps']:,} steps" if line["compared_steps"] == line["steps"] else \
            f"{line['compared_steps']:,} of {line['steps']:,} steps"
        lines.append(f"  {line['line']:<11} {VERDICTS[line['outcome']]}: {len(line['variables'])} variables, {steps}, "
                     f"largest error {_size(line['max_abs_error'])}, {_size(line['max_rel_error'])} of the range"
                     + (f"; after {', '.join(line['passes'])}" if line["passes"] else ""))
    if table["on"] == "native32":
        lines.append(f"  single precision: errors may be {table['limits']['relative']:.0e} of the range")
    where = table["first_divergence"]
    if where:
        lines.append(f"  first divergence: step {where['step']}, {where['variable']}{where['index']}: "
                     f"{where['got']} instead of {where['expected']}")
    return "\n".join([*lines, *(f"  {reason}" for reason in table.get("reasons", ()))])


def _size(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1e}"


def bench(out: Output, name: str, output: str | None, golden: str | None, overrides: Overrides) -> None:
    from cortexc.compiler.bench import recordings
    from cortexc.compiler.bench.table import BENCHMARKS
    from cortexc.compiler.experiments.files import write_json
    from cortexc.compiler.experiments.results import machine

    if name not in BENCHMARKS:
        raise unknown("X185", "benchmark", name, BENCHMARKS)
    options = dict(parse_override(text) for text in overrides or ())
    options |= recordings(name, golden)
    folder = writable_folder(output) if output else None
    start = time.perf_counter()
    with out.captured():
        rows = BENCHMARKS[name].rows({**options, **({"output": output} if output else {})})
    table = {"name": name, "rows": rows, "machine": machine(), "options": options,
             "wall_s": time.perf_counter() - start}
    if folder:
        write_json(folder / f"{name}.json", table)
    out.result(table, _table(rows))


def sweep(out: Output, experiment: str, over: Sequence[str], output: str, on: str, jobs: int, batch: int,
          overrides: Overrides, sampler: str, trials: int, objective: str, seed: int) -> None:
    from cortexc.compiler.bench.study import Search
    from cortexc.compiler.bench.sweep import SEEDS, summary
    from cortexc.compiler.bench.sweep import sweep as run_sweep

    if sampler not in ("grid", "optuna"):
        raise unknown("X215", "sampler", sampler, ("grid", "optuna"))
    keys = [key for key in (text.partition("=")[0].strip() for text in over) if key != SEEDS]
    search = Search(trials, objective, seed) if sampler == "optuna" else None
    with out.captured():
        given = dict(parse_override(text) for text in overrides or ())
        rows = run_sweep(experiment, over, output, given, on, jobs, batch, search=search)
    found = summary(rows, keys, "objective") if search else summary(rows, keys)
    best = search.best(found) if search else None
    out.result({"rows": rows, "summary": found} | ({"best": best} if search else {}), _table(found))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = [keys, *([_cell(row.get(key)) for key in keys] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(keys))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
                     for line in cells)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_cell, value))
    return "" if value is None else str(value)
