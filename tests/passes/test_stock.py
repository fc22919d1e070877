"""Where stock Lava processes could stand, and the reason where they cannot."""

import pytest

from cortexc.compiler.ir import parse_graph
from cortexc.compiler.microcircuits.sign_concordant import build
from cortexc.compiler.microcircuits.sign_concordant_options import SignConcordant
from cortexc.compiler.microcircuits.sign_concordant_start import normal_start
from cortexc.compiler.passes.stock import stock_notes, stock_text

LIF = """
cell source
  input value
  state spike = 0
  send spike = value
  message spike
cell lif
  port current
  parameter du 1 = 0.3
  parameter dv 1 = 0.2
  state u = 0
  state v = 0
  send spike = where(prev(v) > 1, 1, 0)
  receive u = prev(u) * (1 - du) + current
  receive v = where(prev(v) > 1, 0, prev(v)) * (1 - dv) + u
  message spike
synapse dense
  message spike
  port current
population input source 2
population cells lif 3
projection W dense input -> cells
projection R dense cells -> cells
"""


def reasons(text):
    return {note.name: note.reason for note in stock_notes(parse_graph(text))}


def test_a_plain_circuit_of_lif_and_dense_is_not_excluded():
    found = reasons(LIF)
    assert found == {"input": "it is a source, with exogenous input 'value'", "cells": "", "W": "", "R": ""}
    assert "population cells\n  could be LIF" in stock_text(parse_graph(LIF))


@pytest.mark.parametrize("old, new, name, words", [
    ("where(prev(v) > 1, 1, 0)", "prev(v)", "cells", "sends 'spike', LIF sends a spike of 0 or 1"),
    ("+ current", "+ tanh(current)", "cells", "computes tanh"),
    ("R dense cells -> cells", "R dense cells -> cells delay=3", "R", "delay 3"),
    ("  port current\npopulation", "  port current\n  connectivity one_to_one\npopulation", "R", "one_to_one")])
def test_what_excludes_them(old, new, name, words):
    assert old in LIF
    assert words in reasons(LIF.replace(old, new)).get(name, "")


def test_the_sign_concordant_circuit_is_excluded_everywhere_and_says_why():
    from dataclasses import replace

    circuit = SignConcordant((4, 3, 2))
    graph = build(replace(circuit, arrays=normal_start(circuit, [1], {})))
    found = {note.name: note.reason for note in stock_notes(graph)}
    assert all(found.values())
    assert found["PC1"] == "gate 'start' acts on it, and LIF has no input for that"
    assert found["wE_1"].startswith("rule 'hebbian' does not round with LearningDense's own random numbers")
