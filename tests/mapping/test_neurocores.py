"""The cores of a mapping are the processes of the granularity `neurocore`, with the bits of the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortexc.compiler.backends.lowering.program import lower
from cortexc.compiler.backends.native import Grouped, Native
from cortexc.compiler.experiments.compilation import compile_experiment
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.cores import core_groups
from cortexc.compiler.experiments.session import run_experiment
from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.model import group_parts
from cortexc.compiler.passes.partition import Partition

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
    """Learns from the first step on."""
    return load_experiment(NAME, ["run.backend='lava'", "protocol.validation=''", *overrides])


def neurocore(folder: Path, cells: int = 33, *more: str) -> Any:
    return experiment("run.granularity='neurocore'", f"run.hardware='{small_map(folder, cells)}'", *more)


def final(loaded: Any, kind: type, steps: int = 300) -> dict[str, np.ndarray]:
    compiled = compile_experiment(loaded)
    program = lower(compiled.report.graph, compiled.observed)
    runner = kind(program, compiled.plan.protocol, compiled.plan.samples, list(loaded.run.seeds))
    runner.run(steps)
    return {q.name: runner.value(f"{q.name}.w") for q in compiled.graph.projections
            if compiled.graph.rule_of(q)}


def test_every_population_is_in_the_process_of_its_core(tmp_path: Path) -> None:
    """33 cells on a core: the pyramidal cells of an area and its interneurons are together."""
    groups = dict(core_groups(neurocore(tmp_path)))
    assert groups == {"P0": "core_0", "I0": "core_0", "P1": "core_1"}
    graph = compile_experiment(neurocore(tmp_path)).report.graph
    assert {p.name: p.group for p in graph.populations} == {**groups, "input": "host", "teacher": "host"}
    assert all(q.group == graph.population(q.post).group for q in graph.projections)


def test_a_population_is_divided_over_its_cores(tmp_path: Path) -> None:
    parts = group_parts(dict(core_groups(neurocore(tmp_path, 20)))["P0"])
    assert len(parts) >= 2 and sum(cells for _, cells in parts) == 30


def test_cores_that_share_what_cannot_be_divided_are_one_process() -> None:
    graph = compile_experiment(experiment("model.variant='BP'")).graph
    found = Partition("neurocore", (("P0", "core_0:20+core_3:10"), ("P1", "core_3"), ("I0", "core_1"))).apply(graph)
    groups = {p.name: p.group for p in found.populations}
    assert groups == {"P0": "cores_0_3", "P1": "cores_0_3", "I0": "core_1", "input": "host", "teacher": "host"}


def test_parts_must_make_up_the_population() -> None:
    with pytest.raises(CortexError, match="E604.*31 cells.*30"):
        Partition("neurocore", (("P0", "core_0:20+core_1:11"),)).apply(compile_experiment(experiment()).graph)


INTEGERS = ("precision.weights=8", "precision.calibration_steps=300", "protocol.update_every=1",
            "model.eta_fw=[5000.0,100.0]")


@pytest.mark.parametrize("cells", [20, 12])
@pytest.mark.parametrize("more", [(), INTEGERS], ids=["float", "integers"])
def test_same_bits_as_one_process(tmp_path: Path, cells: int, more: tuple[str, ...]) -> None:
    whole, parts = final(experiment(*more), Native), final(neurocore(tmp_path, cells, *more), Grouped)
    assert whole and set(whole) == set(parts)
    started = compile_experiment(experiment(*more)).report.graph.arrays
    assert not np.array_equal(whole["WPP_0"].squeeze(), started["WPP_0.w"].squeeze())
    divided = compile_experiment(neurocore(tmp_path, cells, *more)).report.graph.population("P0").group
    assert "+" in divided
    for name, weights in whole.items():
        assert np.array_equal(weights, parts[name]), name


@pytest.mark.lava
@pytest.mark.parametrize("cells", [33, 20])
def test_same_bits_on_lava(tmp_path: Path, cells: int) -> None:
    cores = run_experiment(neurocore(tmp_path, cells), tmp_path / "cores", steps=300)
    whole = run_experiment(experiment("run.backend='native'"), tmp_path / "whole", steps=300)
    assert cores["granularity"] == "neurocore" and cores["backend"] == "lava"
    assert cores["weights_sha256"] == whole["weights_sha256"]


def test_without_a_map() -> None:
    with pytest.raises(CortexError, match="X154"):
        compile_experiment(experiment("run.granularity='neurocore'"))
