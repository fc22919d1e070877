"""Which independent reference stands for which circuit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cortexc.compiler.ir import CortexError
from cortexc.compiler.microcircuits.eprop import Eprop
from cortexc.compiler.microcircuits.error_neuron import ErrorNeuron
from cortexc.compiler.microcircuits.layered_pal import LayeredPal
from cortexc.compiler.microcircuits.pal import Pal
from cortexc.compiler.microcircuits.rivals import Rival
from cortexc.compiler.microcircuits.sign_concordant_options import SignConcordant
from cortexc.compiler.verify.oracles import eprop, error_neuron, layered_pal, pal, sign_concordant
from cortexc.compiler.verify.oracles.base import Oracle
from cortexc.compiler.verify.recorded.format import Recording
from cortexc.compiler.verify.runs import Chunk

ORACLES: dict[type, Oracle] = {
    Pal: pal.ORACLE, ErrorNeuron: error_neuron.ORACLE, Rival: error_neuron.ORACLE,
    SignConcordant: sign_concordant.ORACLE, Eprop: eprop.ORACLE,
    LayeredPal: layered_pal.ORACLE}


def oracle_of(circuit: Any) -> Oracle | None:
    """None for a circuit without a reference."""
    return next((ORACLES[kind] for kind in type(circuit).__mro__ if kind in ORACLES), None)


def recorded_rows(recording: Recording) -> Iterator[Chunk]:
    """The reference under the names of a recording. Raises V122 where its circuit has none."""
    oracle = oracle_of(recording.circuit)
    if oracle is None or oracle.recorded is None:
        raise CortexError("V122", f"there is no independent reference for the circuit of '{recording.name}'.",
                          "Use --on interpreter, or --reference FILE.py:function.")
    return ({name: values[:, 0] for name, values in chunk.items()} for chunk in oracle.recorded(recording))
