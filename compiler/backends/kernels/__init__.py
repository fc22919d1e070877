"""Kernels as nests of loops: a small language, its layouts in memory, and its printers (numba and C)."""
