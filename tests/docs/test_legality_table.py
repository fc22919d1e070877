"""The table of docs/legality.md is what `cortexc explain --map` says of every shipped circuit and variant.

CORTEXC_WRITE=1 writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cortexc.compiler.experiments.compilation import circuit_after_passes
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.microcircuits import CIRCUITS
from cortexc.compiler.passes.legalise import the_map
from cortexc.compiler.passes.legality import RuleReport, rule_reports

FILE = Path(__file__).parents[2] / "docs" / "legality.md"
HEAD = ("| circuit | variant | rule (projections) | Loihi 2, as written | with `precision.map=loihi2` | Loihi 1 |\n"
        "|---|---|---|---|---|---|\n")
EXAMPLES = {"pal": "pal_digits", "sign-concordant": "sign_concordant_mnist_8bit", "error-neuron": "error_neuron_digits",
            "dendritic": "depth_dendritic", "dpc": "depth_dpc", "ann": "depth_ann", "layered-pal": "pal_autoencoder"}
WORD = {"sign-concordant": "feedback"}
FURTHER = [("layered-pal", "PAL, convolutional", "pal_cifar10", []),
           ("sign-concordant", "locked, Adam", "sign_concordant_mnist", []),
           ("sign-concordant", "locked, convolutional", "sign_concordant_cnn", []),
           ("sign-concordant", "locked, trace membrane", "sign_concordant_mnist_8bit", ["model.trace=membrane"]),
           ("sign-concordant", "locked, two lines", "sign_concordant_mnist_8bit", ["model.message=two_line"]),
           ("sign-concordant-errors", "locked", "sign_concordant_mnist", ["model.circuit=sign-concordant-errors"]),
           ("examples/circuits/pal_chip.py", "as shipped", "pal_chip", []),
           ("examples/circuits/rstdp.py", "as shipped", "rstdp", []),
           ("examples/circuits/rstdp.py", "dropped", "rstdp", ["model.dropped=true"])]


def circuits() -> list[tuple[str, str, str, list[str]]]:
    """(circuit, variant, experiment, settings)."""
    found = [(name, variant, EXAMPLES[name], [f"model.{WORD.get(name, 'variant')}={variant}"])
             for name in EXAMPLES for variant in CIRCUITS[name].variants]
    return found + FURTHER


def reports(experiment: str, settings: list[str], hardware: str) -> list[RuleReport]:
    loaded = load_experiment(experiment, [*settings, "run.seeds=[1]"])
    graph, _ = circuit_after_passes(loaded, passes=False)
    return rule_reports(graph, the_map(hardware), loaded.precision.credit)


def rows(circuit: str, variant: str, experiment: str, settings: list[str]) -> list[str]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for two, one in zip(*(reports(experiment, settings, m) for m in ("loihi2", "loihi1")), strict=True):
        written = (f"legal: {two.form}" if two.runs else "legal") if two.legal else "; ".join(two.reasons)
        runs = (two.runs or two.form) if two.legal else two.nearest
        cells = (two.rule, written, runs, "legal" if one.legal else one.reasons[-1])
        groups.setdefault(cells, []).append(two.projection)
    return [" | ".join(["", circuit, variant, f"{rule} ({', '.join(names)})", *map(_escaped, rest), ""]).strip()
            for (rule, *rest), names in groups.items()]


def _escaped(text: str) -> str:
    return text.replace("*", r"\*").replace("|", r"\|")


@pytest.mark.parametrize("which", circuits(), ids=lambda c: f"{c[0]}-{c[1]}")
def test_the_table_of_the_docs_is_what_explain_says(which) -> None:
    listed = FILE.read_text().splitlines()
    missing = [row for row in rows(*which) if row not in listed]
    assert not missing, missing


def test_the_table_has_nothing_else() -> None:
    known = {(f"| {c}", f"{v}") for c, v, _, _ in circuits()}
    listed = [line.split(" | ")[:2] for line in FILE.read_text().splitlines() if line.startswith("| ")][1:]
    assert {tuple(row) for row in listed} == known


if os.environ.get("CORTEXC_WRITE"):
    text = FILE.read_text()
    table = "\n".join(row for which in circuits() for row in rows(*which))
    FILE.write_text(text[:text.index(HEAD[:20])] + HEAD + table + "\n")
