"""Evidence that what runs is the circuit: recordings, an independent reference, the interpreter, and mutations of all.

`verify_golden(path)`, `verify_graph(graph, protocol, samples)`, `verify_against_reference(circuit)`; each gives a
`Result`. `record_trajectory(path, setup)` writes a recording of one's own circuit.
"""

from compiler.verify.compare import Comparison, Divergence, Result
from compiler.verify.oracles.integers import Source
from compiler.verify.oracles.pal import reference_setup
from compiler.verify.oracles.user import load_function
from compiler.verify.recorded.recordings import Recording, load_recording, record_trajectory
from compiler.verify.runs import Setup, quantities, trajectory
from compiler.verify.verification import (
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
