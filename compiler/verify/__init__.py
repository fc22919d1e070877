"""Evidence that what runs is the circuit: recordings, an independent reference, the interpreter, and mutations of all.

`verify_golden(path)`, `verify_graph(graph, protocol, samples)`, `verify_against_reference(circuit)`; each gives a
`Result`. `record_trajectory(path, setup)` writes a recording of one's own circuit.
"""

from cortexc.compiler.verify.compare import Comparison, Divergence, Result
from cortexc.compiler.verify.oracles.integers import Source
from cortexc.compiler.verify.oracles.pal import reference_setup
from cortexc.compiler.verify.oracles.user import load_function
from cortexc.compiler.verify.recorded.recordings import Recording, load_recording, record_trajectory
from cortexc.compiler.verify.runs import Setup, quantities, trajectory
from cortexc.compiler.verify.verification import (
    verify_against_reference,
    verify_golden,
    verify_graph,
    verify_quantised,
    verify_recording,
    verify_setup,
)

__all__ = ["Comparison", "Divergence", "Recording", "Result", "Setup", "Source", "load_function", "load_recording",
           "quantities", "record_trajectory", "reference_setup", "trajectory", "verify_against_reference",
           "verify_golden", "verify_graph", "verify_quantised", "verify_recording", "verify_setup"]
