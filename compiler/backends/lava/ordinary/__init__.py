"""A circuit as ordinary Lava: a process class per cell type and synapse class, and one hierarchical process of them."""

from cortexc.compiler.backends.lava.ordinary.module import Fixed, circuit_module, is_a_process, write_circuit

__all__ = ["Fixed", "circuit_module", "is_a_process", "write_circuit"]
