"""Commands that look at circuits, and write what others run: init, models, show, explain, compile, fit, export."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from cortexc.compiler.cli.command import DataDir, Folder, Granularity, Named, Set, command, load
from cortexc.compiler.cli.output import Output
from cortexc.compiler.ir.errors import CortexError


@command()
def init(out: Output, folder: Annotated[str, Argument(help="A new or empty folder.")] = "my_project") -> None:
    """Begin a project: a cell, a rule and data of your own, an experiment, a test."""
    from cortexc.compiler.experiments.files import EXAMPLES, writable_folder

    place = writable_folder(folder)
    if any(place.iterdir()):
        raise CortexError("X221", f"folder '{place}' is not empty.", "Name a new one: cortexc init FOLDER.")
    files = sorted(each for each in (EXAMPLES / "project").iterdir() if each.is_file())
    for file in files:
        shutil.copyfile(file, place / file.name)
    names = [file.name for file in files]
    begin = f"cd {shlex.quote(str(place))}; cortexc run my_experiment.toml -o run"
    out.result({"folder": str(place), "files": names}, f"{place}: {', '.join(names)}\nBegin with: {begin}")


@command()
def models(out: Output) -> None:
    """List the shipped circuits and experiments."""
    from cortexc.compiler.experiments.config import load_experiment
    from cortexc.compiler.experiments.files import shipped_experiments
    from cortexc.compiler.ir.library import parts
    from cortexc.compiler.microcircuits import CIRCUITS

    circuits = [{"name": c.name, "summary": c.summary, "source": c.source, "variants": dict(c.variants),
                 "starts": list(c.starts)} for c in CIRCUITS.values()]
    experiments = {name: load_experiment(path).description for name, path in shipped_experiments().items()}
    lines = ["circuits"]
    for circuit in CIRCUITS.values():
        lines.append(f"  {circuit.name:<24}{circuit.summary} ({circuit.source})")
        lines += [f"    {name:<22}{what}" for name, what in circuit.variants.items()]
    lines += ["experiments", *(f"  {name:<30}{what}" for name, what in experiments.items())]
    library = {name: {"kind": part.keyword, "summary": part.about[0]} for name, part in parts().items()}
    lines += ["library", *(f"  {each['kind']} {name:<25}{each['summary']}" for name, each in library.items())]
    out.result({"circuits": circuits, "experiments": experiments, "library": library}, "\n".join(lines))


@command()
def show(out: Output, experiment: Named, after: Annotated[str | None, Option(help="After this pass.")] = None,
         granularity: Granularity = None, set_: Set = None) -> None:
    """Print the circuit as IR text, as written or after a pass."""
    from cortexc.compiler.experiments.compilation import circuit_after_passes, compile_experiment
    from cortexc.compiler.ir import show_graph

    loaded = load(experiment, set_, granularity=granularity)
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


@command()
def explain(out: Output, experiment: Named,
            stock: Annotated[bool, Option("--stock", help="Where stock LIF and Dense could stand, and why not "
                                                          "elsewhere.")] = False,
            map_: Annotated[str | None, Option("--map", help="Whether this chip's learning engine can run the rules: a "
                                                             "map's name or file.")] = None,
            formats: Annotated[bool, Option("--formats", help="Fixed point: every quantity's format, its worst error "
                                                              "and the measured one.")] = False,
            set_: Set = None) -> None:
    """Say what every learning rule reads, where that is computed, and whether it is local."""
    from cortexc.compiler.experiments.compilation import circuit_after_passes
    from cortexc.compiler.passes.read_sets import explain_text, read_sets

    loaded = load(experiment, set_)
    if formats:
        return _explain_formats(out, loaded)
    graph, _ = circuit_after_passes(loaded, passes=False)
    if stock:
        return _explain_stock(out, loaded, graph)
    if map_:
        return _explain_map(out, graph, map_, loaded.precision.credit)
    found = [{**asdict(each), "local": each.local} for each in read_sets(graph)]
    out.result({"graph": graph.name, "read_sets": found}, explain_text(graph))


def _explain_formats(out: Output, experiment: Any) -> None:
    from cortexc.compiler.experiments.formats import format_rows, format_text

    rows = format_rows(experiment)
    out.result({"formats": [asdict(row) for row in rows]}, format_text(rows))


STOCK_ADVICE = """
Projections can be Lava's Dense and LearningDense in fixed point. To see which, add
  --set precision.weights=9 --set precision.messages=7 --set precision.factors=7 --set precision.map=loihi2
  --set precision.rounding=lava
(8 bits for weights without a sign); then compile --circuit --set run.stock=true, or
cortexc.lava.Circuit(..., stock=True)."""


def _explain_stock(out: Output, experiment: Any, graph: Any) -> None:
    """Of a circuit in fixed point: which projections Dense and LearningDense compute, and what would have to change."""
    from cortexc.compiler.experiments.lava_circuits import stock_circuit
    from cortexc.compiler.passes.stock import stock_notes, stock_text
    from cortexc.compiler.passes.stock_phases import phase_plan, phase_text

    if not experiment.precision.weights:
        found = [asdict(note) for note in stock_notes(graph)]
        return out.result({"graph": graph.name, "stock": found}, f"{stock_text(graph)}{STOCK_ADVICE}\n")
    quantised = stock_circuit(experiment, graph)
    plan = phase_plan(quantised)
    notes = [{"name": name, "process": each.process, "text": each.text} for name, each in plan.stock.items()]
    notes += [{"name": name, "process": "", "text": why} for name, why in plan.why.items()]
    out.result({"graph": quantised.name, "phases": plan.phases, "stock": notes}, phase_text(quantised, plan))


def _explain_map(out: Output, graph: Any, name: str, credit: str) -> None:
    from cortexc.compiler.passes.legalise import the_map
    from cortexc.compiler.passes.legality import legality_text, rule_reports, unpublished

    hardware = the_map(name)
    rules = [asdict(each) for each in rule_reports(graph, hardware, credit)]
    out.result({"graph": graph.name, "map": hardware.name, "rules": rules, "unpublished": unpublished(hardware)},
               legality_text(graph, hardware, credit))


@command("explain-error")
def explain_error(out: Output,
                  code: Annotated[str | None, Argument(help="A code such as E231; by default all.")] = None) -> None:
    """Say what an error code means, and what to do."""
    from cortexc.compiler.ir.codes import meaning, meanings

    found = [meaning(code)] if code else list(meanings().values())
    out.result({"codes": [asdict(each) for each in found]}, "\n".join(each.text for each in found))


@command("compile")
def compile_folder(out: Output, experiment: Named,
                   output: Annotated[str, Option("-o", "--output", help="Folder for the code.")],
                   granularity: Granularity = None,
                   map_: Annotated[str | None, Option("--map", help="A hardware map that it has to fit; its mapping is "
                                                                    "stored.")] = None,
                   circuit: Annotated[bool, Option("--circuit", help="Write the circuit as one process for Lava "
                                                                     "networks of your own, without data and "
                                                                     "protocol.")] = False,
                   force: Annotated[bool, Option("--force", help="Replace code that was edited.")] = False,
                   data_dir: DataDir = None, set_: Set = None) -> None:
    """Write the Lava program: graph, arrays, kernels, network_lava.py, manifest."""
    from cortexc.compiler.experiments.export import compile_to_folder
    from cortexc.compiler.experiments.lava_circuits import compile_circuit

    with out.captured():
        loaded = load(experiment, set_, granularity=granularity, backend="lava", data_dir=data_dir, hardware=map_)
        manifest = compile_circuit(loaded, output, force) if circuit else \
            compile_to_folder(loaded, output, map_, force)
    files = "\n".join(f"  {name}" for name in manifest["files"])
    out.result(manifest, f"{manifest['circuit']}: {manifest['processes']} Lava processes in {output}\n{files}")


@command()
def fit(out: Output, experiment: Named,
        maps: Annotated[list[str] | None, Option("--map", help="A hardware map's name or file (repeatable; all shipped "
                                                               "ones by default).")] = None,
        rate: Annotated[float, Option(min=0, max=1, help="Spikes per neuron and step, where none was measured.")] = 0.1,
        measure: Annotated[int, Option(min=0, help="Run so many steps natively to see how often messages are "
                                                   "sent.")] = 0,
        rule: Annotated[list[str] | None, Option(help="Connectivity that is not built: W=probability:0.1 or "
                                                      "W=distance:PEAK:SCALE:COLUMNS (repeatable).")] = None,
        data_dir: DataDir = None, output: Folder = None, set_: Set = None) -> None:
    """Say whether the circuit fits a chip, which limit binds, where it goes and what it would cost."""
    from cortexc.compiler.experiments.fitting import fit_experiment
    from cortexc.compiler.mapping.report import fit_table, fit_text

    with out.captured():
        loaded = load(experiment, set_, data_dir=data_dir)
        found = fit_experiment(loaded, maps, rate, Path(output) if output else None, measure, rule or ())
    out.result(fit_table(loaded.name, found), fit_text(loaded.name, found))


@command()
def export(out: Output, folder: Annotated[str, Argument(metavar="RUN", help="A run folder.")],
           to: Annotated[str, Option(help="npz, torch, lava or nir.")], output: Folder = None) -> None:
    """Export what a run has learnt."""
    from cortexc.compiler.experiments.export import export_run

    with out.captured():
        if to == "lava" and (Path(folder) / "experiment.toml").is_file():
            load(folder, None)  # the circuit is built
        path = export_run(Path(folder), to, None if output is None else Path(output))
    out.result({"format": to, "output": str(path)}, str(path))
