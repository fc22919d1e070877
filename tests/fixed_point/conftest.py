"""Quantised setups of small circuits."""

from dataclasses import replace
from types import SimpleNamespace

from compiler.experiments.precision import calibrate
from compiler.passes import Request, pipeline, run_passes
from compiler.passes.legalise import Legalise
from compiler.passes.name_products import NameProducts
from compiler.passes.quantise import Quantise, Widths
from compiler.verify.runs import Setup


def quantised(setup: Setup, rounding: str = "stochastic", hardware: str = "", steps: int = 500,
              credit: str = "held") -> Setup:
    """The setup with the integer program of its circuit."""
    legal = [Legalise(hardware, credit)] if hardware else []
    before, widths = pipeline(["discretise", "fold", "eliminate-lookahead"]), Widths()
    graph = run_passes(setup.graph, [*before, *legal, NameProducts(widths.coefficients)], Request()).graph
    plan = SimpleNamespace(protocol=setup.protocol, samples=setup.samples)
    peaks = calibrate(graph, plan, list(setup.seeds), steps)
    return replace(setup, graph=run_passes(graph, [Quantise(peaks, widths, rounding)], Request()).graph)
