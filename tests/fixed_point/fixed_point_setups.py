"""Small circuits and their quantised setups."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace

import numpy as np

from cortexc.compiler.experiments.precision import calibrate
from cortexc.compiler.experiments.tasks.plans import with_rate, with_updates
from cortexc.compiler.microcircuits.error_neuron import ErrorNeuron
from cortexc.compiler.microcircuits.pal import Pal
from cortexc.compiler.microcircuits.rivals import Ann, Dendritic, Dpc, Rival
from cortexc.compiler.microcircuits.sign_concordant_options import SignConcordant
from cortexc.compiler.passes import Request, pipeline, run_passes
from cortexc.compiler.passes.fixed_point import Format
from cortexc.compiler.passes.legalise import Legalise
from cortexc.compiler.passes.name_products import NameProducts
from cortexc.compiler.passes.quantise import Quantise
from cortexc.compiler.passes.widths import Widths
from cortexc.compiler.verify import Source, reference_setup
from cortexc.compiler.verify.oracles import error_neuron as error_oracle
from cortexc.compiler.verify.oracles import sign_concordant as spiking_oracle
from cortexc.compiler.verify.runs import Setup

NO_FORMATS: Mapping[str, Format] = MappingProxyType({})
RATES = dict(eta_fw=(3.0, 1.0), eta_bw=(0.2,), eta_IP=(0.9,), eta_PI=(0.2,), sigma=(0.1,))
FAST = dict(eta_fw=(60.0, 30.0), eta_IP=(20.0,), eta_PI=(10.0,), eta_bw=(10.0,))
PLASTIC = {
    "spiking": SignConcordant((7, 5, 3), optimiser="none", eta=(0.05,)),
    "spiking-frSF": SignConcordant((7, 5, 4, 3), "frSF", optimiser="none", eta=(0.05,)),
    "spiking-DFA": SignConcordant((7, 5, 4, 3), "DFA", optimiser="none", eta=(0.05,), trace="membrane"),
    "spiking-BP": SignConcordant((7, 5, 4, 3), "BP", optimiser="none", eta=(0.05,), update="step"),
    "spiking-lines": SignConcordant((7, 5, 4, 3), message="two_line", optimiser="none", eta=(0.05,), trace="membrane",
                                    surrogate="boxcar"),
    "pal": Pal((5, 4, 3), **RATES),
    "pal-FA": Pal((5, 4, 3), variant="FA", **RATES),
    "pal-BP": Pal((5, 4, 3), variant="BP", **RATES),
    "errors-FA": ErrorNeuron((4, 3, 3, 2), variant="FA", wiring="areas", target_delay=2),
    "errors-BP": ErrorNeuron((4, 3, 3, 2), activation=("logistic",), use_activation=True),
    "dendritic-BP": Dendritic((4, 3, 3, 2), eta_IP=(0.4, 0.2)),
    "dendritic-FA": Dendritic((4, 3, 3, 2), "FA", ("logistic",), eta_IP=(0.4, 0.2), eta_PI=(0.3, 0.2),
                              use_activation=False, target_delay=2),
    "dpc-BP": Dpc((4, 3, 3, 2), eta_fw=(0.3, 0.2, 0.1), eta_PI=(0.3, 0.2)),
    "dpc-FA": Dpc((4, 3, 3, 2), "FA", eta_fw=(0.3, 0.2, 0.1), eta_PI=(0.3, 0.2), target_delay=2),
    "ann-BP": Ann((4, 3, 3, 2)),
    "ann-FA": Ann((4, 3, 3, 2), "FA", ("logistic",), target_delay=2),
}
NEVER_BY_HAND = {
    "spiking-spikes": SignConcordant((7, 5, 4, 3), message="spiking", optimiser="none", eta=(0.05,)),
    "spiking-pipelined": SignConcordant((7, 5, 4, 3), timing="pipelined", optimiser="none", eta=(0.05,)),
    "spiking-etas": SignConcordant((7, 5, 4, 3), optimiser="none", eta=(0.05, 0.04, 0.03)),
    "errors-noise": ErrorNeuron((4, 3, 3, 2), variant="noise", activation=("logistic",), eta_fw=(30.0,), eta_bw=(30.0,)),
    "errors-KP": ErrorNeuron((4, 3, 3, 2), variant="KP", eta_fw=(3.0,), target_delay=2),
}
"""Circuits of which nobody wrote the integers by hand."""
PLAIN = {
    "pal-frozen": Pal((5, 4, 3), variant="FA", low_pass=False, **{**RATES, **FAST}),
    "pal-moving": Pal((5, 4, 3), low_pass=False, **{**RATES, **FAST}),
    "errors-frozen": ErrorNeuron((4, 3, 3, 2), variant="FA", eta_fw=(10.0,)),
    "ann-frozen": Ann((4, 3, 3, 2), "FA", ("logistic",), eta_fw=(10.0,)),
}
"""Circuits whose synapses keep nothing but weights, and copy none."""


def setup_of(name: str, steps: int, seeds: tuple[int, ...] = (1, 2)) -> Setup:
    """At least so many steps of which all but a tenth are plastic."""
    circuit = (PLASTIC | NEVER_BY_HAND | PLAIN)[name]
    if isinstance(circuit, SignConcordant):
        return spiking_oracle.reference_setup(circuit, -(-steps // 5), seeds=seeds)
    if isinstance(circuit, ErrorNeuron | Rival):
        return _in_units(error_oracle.reference_setup(circuit, steps, seeds))
    return reference_setup(circuit, steps, seeds)


def _in_units(setup: Setup) -> Setup:
    """The fixed errors of copied weights as multiples of 1 / 32, which are units of every class."""
    arrays = {name: np.floor(32 * array + 0.5) / 32 if name.endswith("copy_error") else array
              for name, array in setup.graph.arrays.items()}
    return replace(setup, graph=setup.graph.with_(arrays=arrays))


def summed(setup: Setup) -> Setup:
    """Increments are summed over presentations of 50 steps, at rates that halve."""
    gates = (("update", (0.0,) * 49 + (1.0,)), ("rate", (1.0,) * 300 + (0.5,) * 100 + (0.25,) * 200))
    phases = tuple(replace(p, gates=(*p.gates, *gates)) for p in setup.protocol.phases)
    return replace(setup, graph=with_rate(with_updates(setup.graph)), protocol=replace(setup.protocol, phases=phases))


def program(setup: Setup, rounding: str = "stochastic", hardware: str = "", credit: str = "held",
            formats: Mapping[str, Format] = NO_FORMATS, steps: int = 500, least_scale: float = 0.0,
            factor_rounding: str = "nearest", **widths: int) -> tuple[Setup, Source]:
    """The setup with the integer program of its circuit, and what was quantised."""
    legal, bits = [Legalise(hardware, credit)] if hardware else [], Widths(**widths)
    before = pipeline(["discretise", "fold", "eliminate-lookahead"])
    real = run_passes(setup.graph, [*before, *legal], Request()).graph
    graph = run_passes(real, [NameProducts(bits.coefficients)], Request()).graph
    plan = SimpleNamespace(protocol=setup.protocol, samples=setup.samples)
    peaks = calibrate(graph, plan, list(setup.seeds), steps)
    quantise = Quantise(peaks, bits, rounding, formats, least_scale=least_scale, factor_rounding=factor_rounding)
    source = Source(real, bits.coefficients, bits.states, bits.messages, bits.factors, rounding)
    return replace(setup, graph=run_passes(graph, [quantise], Request()).graph), source
