"""NIR, the Neuromorphic Intermediate Representation (extra `nir`): other people's networks as graphs.

Only `reading` touches the package `nir`, and only inside its functions.
"""

from compiler.nir_exchange.importing import from_nir as from_nir
