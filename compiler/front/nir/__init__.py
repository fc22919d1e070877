"""NIR, the Neuromorphic Intermediate Representation (extra `nir`): networks as graphs, and graphs as networks.

`reading` imports the package `nir`, inside a function.
"""

from cortexc.compiler.front.nir.exporting import to_nir as to_nir
from cortexc.compiler.front.nir.importing import from_nir as from_nir
from cortexc.compiler.front.nir.sidecar import losses as losses
