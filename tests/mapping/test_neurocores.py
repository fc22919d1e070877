"""The cores of a mapping are the processes of the granularity `neurocore`, with the bits of the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.backends.groups import Grouped
from compiler.backends.lowering.program import lower
from compiler.backends.native import Native
from compiler.experiments.compilation import compile_experiment
from compiler.experiments.config import load_experiment
from compiler.experiments.fitting import core_groups
from compiler.experiments.session import run_experiment
from compiler.ir import CortexError

SMALL = """
name = "small"
title = "Loihi 2 with cores of 40 neurons"
extends = "loihi2"
[sources]
TEST = "this test"
[core]
compartments = { value = %d, unit = "compartments", kind = "assumed", source = "[TEST]" }
"""
NAME = "pal_yinyang"
"""4 inputs, 30 hidden cells with 3 interneurons, 3 outputs."""


def small_map(folder: Path, cells: int = 33) -> str:
    path = folder / "small.toml"
    path.write_text(SMALL % cells)
    return str(path)


def experiment(*overrides: str) -> Any:
    return load_experiment(NAME, ["run.backend='lava'", *overrides])


def neurocore(folder: Path, cells: int = 33) -> Any:
    return experiment("run.granularity='neurocore'", f"run.hardware='{small_map(folder, cells)}'")


def final(loaded: Any, kind: type, steps: int = 300) -> dict[str, np.ndarray]:
    compiled = compile_experiment(loaded)
    program = lower(compiled.report.graph, compiled.observed)
    runner = kind(program, compiled.plan.protocol, compiled.plan.samples, list(loaded.run.seeds))
    runner.run(steps)
    return {q.name: runner.value(f"{q.name}.w") for q in compiled.graph.projections
            if compiled.graph.rule_of(q)}


def test_every_population_is_in_the_process_of_its_core(tmp_path: Path) -> None:
    groups = dict(core_groups(neurocore(tmp_path)))
    assert set(groups) == {"P0", "P1", "I0"} and len(set(groups.values())) == 2
    graph = compile_experiment(neurocore(tmp_path)).report.graph
    assert {p.name: p.group for p in graph.populations} == {**groups, "input": "host", "teacher": "host"}
    assert all(q.group == graph.population(q.post).group for q in graph.projections)


def test_cores_that_share_a_population_are_one_process(tmp_path: Path) -> None:
    groups = dict(core_groups(neurocore(tmp_path, 20)))
    assert groups["P0"].startswith("cores_") and groups["P0"].count("_") >= 2


@pytest.mark.parametrize("cells", [33, 20])
def test_same_bits_as_one_process(tmp_path: Path, cells: int) -> None:
    whole, parts = final(experiment(), Native), final(neurocore(tmp_path, cells), Grouped)
    assert whole and set(whole) == set(parts)
    for name, weights in whole.items():
        assert np.array_equal(weights, parts[name]), name


@pytest.mark.lava
def test_same_bits_on_lava(tmp_path: Path) -> None:
    cores = run_experiment(neurocore(tmp_path), tmp_path / "cores", steps=300)
    whole = run_experiment(experiment("run.backend='native'"), tmp_path / "whole", steps=300)
    assert cores["granularity"] == "neurocore" and cores["backend"] == "lava"
    assert cores["weights_sha256"] == whole["weights_sha256"]


def test_without_a_map() -> None:
    with pytest.raises(CortexError, match="X154"):
        compile_experiment(experiment("run.granularity='neurocore'"))
