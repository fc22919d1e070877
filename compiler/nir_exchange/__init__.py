"""NIR, the Neuromorphic Intermediate Representation (extra `nir`): networks as graphs, and graphs as networks.

`reading` imports the package `nir`, inside a function.
"""

from compiler.nir_exchange.exporting import to_nir as to_nir
from compiler.nir_exchange.importing import from_nir as from_nir
