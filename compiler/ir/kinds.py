"""Every kind of connectivity, by what it is; the rest of the compiler asks these questions and no names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Which cells a projection joins, and with which weights.

    `weighted`: it has weights; else the message itself arrives. `pairs`: cell i joins cell i alone. `mask`: where it is
    told which pairs are joined: in an "array", or by "blocks" of areas. `maps`: between feature maps, with a kernel for
    all positions or, `local`, for each; `back`: from the upper maps to the lower ones, with the weights laid out as in
    the forward direction. `listed`: synapses are a list, each with its cells, weight and perhaps delay.
    """

    name: str
    weighted: bool = True
    pairs: bool = False
    mask: str = ""
    maps: bool = False
    local: bool = False
    back: bool = False
    listed: bool = False

    @property
    def matrix(self) -> bool:
        """Whether its weights are a matrix of all postsynaptic by all presynaptic cells."""
        return self.weighted and not (self.pairs or self.maps or self.listed)

    @property
    def full(self) -> bool:
        """Whether it joins every pair of cells, with a weight each."""
        return self.matrix and not self.mask


KINDS = {kind.name: kind for kind in (
    Kind("dense"), Kind("one_to_one", pairs=True), Kind("masked", mask="array"), Kind("blocks", mask="blocks"),
    Kind("convolution", maps=True), Kind("transposed_convolution", maps=True, back=True),
    Kind("local", maps=True, local=True), Kind("transposed_local", maps=True, local=True, back=True),
    Kind("identity", weighted=False, pairs=True), Kind("sparse", listed=True))}
