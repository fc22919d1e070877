"""The table of docs/lava.md says of every shipped circuit which Lava process each of its projections is.

CORTEXC_WRITE=1 writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.lava_circuits import graph_of, stock_circuit
from cortexc.compiler.passes.stock_phases import phase_plan

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "lava.md"
HEAD = "| circuit | projections | process | Lava's steps in each of its own |\n|---|---|---|---|\n"
BITS = ["precision.weights=9", "precision.messages=7", "precision.factors=7", "precision.rounding=lava",
        "precision.map=loihi2", "precision.calibration_steps=50", "protocol.epochs=1", "run.seeds=[1]"]
SPIKING = ["data.name=digits", "data.split=stratified", "model.layers=[64,10,10]", "precision.weights=8", "precision.credit=settled"]
SMALL = ["model.layers=[64,8,10]"]
CIRCUITS = {
    "PAL, feedback frozen": ("pal_digits", [*BITS, *SMALL, "model.variant=FA", "model.low_pass=false"]),
    "PAL, all of it": ("pal_digits", [*BITS, *SMALL]),
    "error-neuron, feedback frozen": ("error_neuron_digits", [*BITS, *SMALL, "model.variant=FA"]),
    "error-neuron, feedback copied": ("error_neuron_digits", [*BITS, *SMALL]),
    "dendritic, feedback frozen": ("depth_dendritic", [*BITS, *SMALL, "model.variant=FA"]),
    "dpc, feedback frozen": ("depth_dpc", [*BITS, *SMALL, "model.variant=FA"]),
    "ann, feedback frozen": ("depth_ann", [*BITS, *SMALL, "model.variant=FA"]),
    "sign-concordant": ("sign_concordant_mnist_8bit", [*BITS, *SPIKING]),
    "pair STDP": (str(ROOT / "examples/lava/stdp.toml"), []),
}


def rows(name: str) -> list[str]:
    experiment, settings = CIRCUITS[name]
    loaded = load_experiment(experiment, settings)
    graph = stock_circuit(loaded, graph_of(loaded))
    plan, groups = phase_plan(graph), {}
    for q in graph.projections:
        if q.name in plan.stock:
            stock = plan.stock[q.name]
            factors = f", `dw={stock.rule.dw}`" if stock.rule else ""
            groups.setdefault(f"`{stock.process}`{factors}", []).append(q.name)
        elif q.name in plan.why:
            groups.setdefault(f"ours: {plan.why[q.name]}", []).append(q.name)
    return [f"| {name} | {', '.join(members)} | {what} | {plan.phases} |\n" for what, members in groups.items()]


def test_the_table_is_what_the_plans_say():
    found, text = HEAD + "".join(row for name in CIRCUITS for row in rows(name)), FILE.read_text()
    start = text.index(HEAD)
    end = text.index("\n\n", start) + 1
    if os.environ.get("CORTEXC_WRITE"):
        FILE.write_text(text[:start] + found + text[end:])
    assert found == text[start:end] or os.environ.get("CORTEXC_WRITE")


def test_the_demo_shows_the_lines_of_the_page():
    from cortexc.compiler.bench.demo import IN_A_NETWORK

    lines = [line.strip() for line in IN_A_NETWORK.splitlines()[2:]]
    shown = FILE.read_text().split("```python\n")[1].split("```")[0]
    assert lines == [line.strip() for line in shown.splitlines()]
