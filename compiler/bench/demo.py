"""`cortexc bench demo`: the main job. Compiles the digits circuit, verifies it, trains it on Lava, writes a report.

Parts, timed: verification at three granularities against the torch reference (and against the recorded trajectories
where their folder is there); PAL, FA and BP in the circuit on five seeded splits and on the contiguous one; a backprop
net of the same size, a frozen hidden layer, a linear classifier; one epoch at granularity `population`, to the same
bits. Options: epochs, jobs, golden, output, quick.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from cortexc.compiler.bench import run_all
from cortexc.compiler.bench.runs import Job, whole_run
from cortexc.compiler.bench.workers import in_processes
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.files import write_json, write_text
from cortexc.compiler.report.demo_page import size

EXPERIMENT = "pal_digits"
SPLITS = (0, 1, 2, 3, 4)
VARIANTS = ("PAL", "FA", "BP")
LABELS = {"PAL": "PAL, learned feedback", "FA": "fixed random feedback (FA)",
          "BP": "weight transport (BP) in the circuit"}
GRANULARITIES = ("population", "area", "network")
GOLDEN = ("pal_232_fw_bw_noise.npz", "pal_232_fw_bw_BP.npz")


IN_A_NETWORK = """In a Lava network of your own, this circuit is a process (docs/lava.md):

    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    import cortexc.lava

    circuit = cortexc.lava.Circuit("pal_digits", gates={"learn_forward": 1, "target": 1})
    sensor.s_out.connect(circuit.input_value_in)         # any OutPort of 64 numbers
    circuit.P1_rate_out.connect(motor.s_in)              # any InPort of 10 numbers
    circuit.run(RunSteps(1000), Loihi2SimCfg())
    print(circuit.projections["WPP_0"].w.get())          # (30, 64), learnt
    circuit.stop()"""


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The accuracy table; writes `report.html` and `results.json` into the output folder."""
    folder = Path(options.get("output", "runs/demo"))
    folder.mkdir(parents=True, exist_ok=True)
    demo = Demo(options, Console(stderr=True))
    demo.run()
    write_json(folder / "results.json", demo.results)
    from cortexc.compiler.report.demo_page import demo_page

    write_text(folder / "report.html", demo_page(demo.results))
    demo.console.print(f"report: {folder / 'report.html'}\n\n{IN_A_NETWORK}", highlight=False, markup=False)
    return demo.results["table"]


class Demo:
    """Runs the parts one after the other; `results` collects what the report shows."""

    def __init__(self, options: Mapping[str, Any], console: Console):
        self.options, self.console = dict(options), console
        self.results: dict[str, Any] = {"seconds": {}}

    def run(self) -> None:
        for name, part in self.parts().items():
            with self._timed(name):
                part()
        self.results["seconds"]["total"] = sum(self.results["seconds"].values())

    def parts(self) -> dict[str, Callable[[], None]]:
        return {"compile": self.compile, "verify": self.verify, "train on Lava": self.train,
                "baselines": self.baselines, "one epoch at population granularity": self.population_epoch}

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        with self.console.status(name):
            yield
        self.results["seconds"][name] = time.perf_counter() - start
        self.console.print(f"{name}: {self.results['seconds'][name]:.1f} s")

    def _overrides(self, **more: Any) -> dict[str, Any]:
        epochs = {"protocol.epochs": self.options["epochs"]} if "epochs" in self.options else {}
        return {"protocol.test_every": 2, **epochs, **more}

    # ---- parts

    def compile(self) -> None:
        """Graph, passes, kernels; what `cortexc show` and `explain` print."""
        from cortexc.compiler.experiments.compilation import compile_experiment
        from cortexc.compiler.passes.read_sets import explain_text, read_sets
        from cortexc.compiler.report.drawing import circuit_parts

        compiled = compile_experiment(load_experiment(EXPERIMENT, self._overrides()))
        self.results["circuit"] = {
            **circuit_parts(compiled.graph), "explain": explain_text(compiled.graph),
            "not_local": [each.rule or each.projection for each in read_sets(compiled.graph) if not each.local],
            "passes": [{"name": r.name, "seconds": r.seconds} for r in compiled.report.records]}

    def verify(self) -> None:
        """Every result names its evidence."""
        from cortexc.compiler.bench.pal import golden_folder

        folder = golden_folder(self.options.get("golden"))
        names = [*(str(folder / name) for name in GOLDEN if folder), EXPERIMENT]
        checks = [(name, granularity, self._overrides()) for granularity in GRANULARITIES for name in names]
        self.results["verification"] = in_processes(_verified, checks, int(self.options.get("jobs", 2)))
        for entry in self.results["verification"]:
            self.console.print(f"  {entry['outcome']}: {entry['what']} at {entry['granularity']} against "
                               f"{entry['evidence']}: {size(entry['max_abs_error'])}")

    def train(self) -> None:
        jobs, labels = [], []
        for split in (*SPLITS, "contiguous"):
            for variant in VARIANTS:  # side by side, so that no two workers compile the same kernels at once
                data = {"data.split": "contiguous"} if split == "contiguous" else {"data.split_seed": split}
                seed = 0 if split == "contiguous" else split
                jobs.append(_job(variant, self._overrides(**data, **{"run.seeds": [seed]})))
                labels.append((variant, split))
        found = run_all(whole_run, jobs, int(self.options.get("jobs", 2)))
        self.runs = dict(zip(labels, found, strict=True))
        first = self.runs["PAL", 0]
        where = f"{first['backend'].capitalize()}, {first['granularity']}"
        self.results["table"] = [self._row(v, [self.runs[v, s]["test_accuracy"] for s in SPLITS],
                                           self.runs[v, "contiguous"]["test_accuracy"], where) for v in VARIANTS]
        self.results["curves"] = {v: [_curve(self.runs[v, s]) for s in SPLITS] for v in VARIANTS}
        self.results["run"] = {key: first[key] for key in ("steps", "steps_per_second", "seconds", "backend",
                                                           "granularity", "machine", "data")}

    @staticmethod
    def _row(variant: str, accuracies: list[float], contiguous: float, where: str) -> dict[str, Any]:
        return {"row": LABELS.get(variant, variant), "accuracy": float(np.mean(accuracies)),
                "spread": float(np.std(accuracies)), "contiguous": contiguous, "splits": accuracies, "where": where}

    def baselines(self) -> None:
        from functools import partial

        from cortexc.compiler.experiments.data.baselines import frozen_hidden, linear_classifier, mlp_backprop
        from cortexc.compiler.experiments.data.datasets import load_dataset

        sets = [load_dataset("digits", split="stratified", split_seed=s) for s in SPLITS]
        contiguous = load_dataset("digits", split="contiguous")
        methods: dict[str, Callable[..., Any]] = {
            "same-size net with backprop": partial(mlp_backprop, hidden=30),
            "hidden layer frozen": partial(frozen_hidden, hidden=30), "linear classifier": linear_classifier}
        jobs = [(partial(method, d, seed=s),) for method in methods.values()
                for d, s in zip([*sets, contiguous], [*SPLITS, 0], strict=True)]
        found = iter(in_processes(_called, jobs, int(self.options.get("jobs", 2))))
        for name in methods:
            *splits, last = (next(found).test_accuracy for _ in (*SPLITS, 0))
            self.results["table"].append(self._row(name, splits, last, "numpy"))

    def population_epoch(self) -> None:
        """One epoch with a process per population and projection has the bits of one with a single process."""
        overrides = self._overrides() | {"protocol.epochs": 1, "passes.disable": ["hoist-constant-input"],
                                         "data.limits": {"test": 20}}
        if self.options.get("quick"):
            overrides["data.limits"] = {"train": 20, "test": 5}
        found = run_all(whole_run, [_job("PAL", {**overrides, "run.granularity": granularity})
                         for granularity in ("population", "network")], int(self.options.get("jobs", 2)))
        self.results["population"] = {
            "same_bits": found[0]["weights_sha256"] == found[1]["weights_sha256"], "steps": found[0]["steps"],
            "weights_sha256": found[0]["weights_sha256"],
            "us_per_step": {f["granularity"]: 1e6 / f["steps_per_second"] for f in found}}
        self.console.print(f"  same bits: {self.results['population']['same_bits']}")


def _job(variant: str, overrides: Mapping[str, Any]) -> Job:
    return Job(EXPERIMENT, (), {**overrides, "model.variant": variant})


def _verified(name: str, granularity: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """One comparison on Lava: a recording's file, or a shipped experiment against the reference."""
    from cortexc.compiler.experiments.questions import verify_experiment
    from cortexc.compiler.verify import verify_golden

    found = verify_experiment(load_experiment(name, overrides), "lava", granularity, 500) if name == EXPERIMENT \
        else verify_golden(Path(name), "lava", granularity, False)
    table = found.as_dict()
    kept = ("granularity", "evidence", "passed", "outcome", "steps", "max_abs_error", "max_rel_error")
    return {"what": Path(name).name, "variables": len(table["variables"]), **{key: table[key] for key in kept}}


def _called(function: Callable[[], Any]) -> Any:
    return function()


def _curve(found: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy after each tested epoch and the angle between B and W^T after each epoch."""
    curves = [curve for name, curve in found["curves"].items() if "/angle " in name]
    angles = [row[0] for row in curves[0].get("values", [])] if curves else []
    return {"epochs": [t["epoch"] for t in found["tests"]], "accuracy": [t["mean"] for t in found["tests"]],
            "angle": angles}
