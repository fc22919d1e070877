"""Uniform numbers per synapse and step, from a counter: what stochastic rounding adds.

A step's *key* is 64 bits mixed from the seed, the stream and the step; number `index` of that step is a 32-bit hash of
the index under both halves of the key, of which the upper 24 bits count. Integer arithmetic alone, so that every
backend, and every order of the synapses in memory, gets the same numbers. Constants: the finaliser of splitmix64
(Steele et al. 2014) and of a 32-bit mixer with low bias (Wellons 2018).
"""

from __future__ import annotations

import numpy as np

from cortexc.compiler.ir.model import Array

BITS = 24
MASK = (1 << 32) - 1


def uniform(low: Array, high: Array, index: Array) -> Array:
    """Numbers in [0, 1), multiples of 2**-24. `low` and `high`: halves of keys; `index`: which number of the step."""
    x = (np.asarray(low, np.uint64) + np.asarray(index, np.uint64)) & np.uint64(MASK)
    x = x ^ (x >> np.uint64(16))
    x = (x * np.uint64(0x7FEB352D)) & np.uint64(MASK)
    x = x ^ np.asarray(high, np.uint64)
    x = x ^ (x >> np.uint64(15))
    x = (x * np.uint64(0x846CA68B)) & np.uint64(MASK)
    x = x ^ (x >> np.uint64(16))
    return (x >> np.uint64(32 - BITS)).astype(np.float64) / (1 << BITS)


SOURCE = '''
@scalar
def uniform(low, high, index):
    """Number `index` of a step, in [0, 1), from both halves of its key."""
    x = (low + index) & 4294967295
    x = x ^ (x >> 16)
    x = (x * 2146121005) & 4294967295
    x = x ^ high
    x = x ^ (x >> 15)
    x = (x * 2221713035) & 4294967295
    x = x ^ (x >> 16)
    return float(np.int32(x >> 8)) * 5.9604644775390625e-08
'''
"""The same on one number, for generated kernels; arguments are int64."""
assert (0x7FEB352D, 0x846CA68B, 2.0**-BITS) == (2146121005, 2221713035, 5.9604644775390625e-08)
