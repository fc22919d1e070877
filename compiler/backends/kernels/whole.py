"""Whole numbers that kernels compute with: places, lengths, loop variables."""

from __future__ import annotations

from dataclasses import dataclass


class Whole:
    """A whole number that a kernel computes with: loop variables, sizes, and sums, products, quotients, remainders."""

    def __add__(self, other: Int) -> Int:
        if isinstance(other, int) and other < 0:
            return Joined("-", self, -other)
        return self if other == 0 else Joined("+", self, other)

    def __radd__(self, other: int) -> Int:
        return self + other if other <= 0 else Joined("+", other, self)

    def __sub__(self, other: Int) -> Int:
        return self if other == 0 else Joined("-", self, other)

    def __rsub__(self, other: int) -> Int:
        return Joined("-", other, self)

    def __mul__(self, other: Int) -> Int:
        return other if other == 0 else self if other == 1 else Joined("*", self, other)

    def __rmul__(self, other: int) -> Int:
        return other if other == 0 else self if other == 1 else Joined("*", other, self)

    def __floordiv__(self, other: Int) -> Int:
        return self if other == 1 else Joined("//", self, other)

    def __mod__(self, other: Int) -> Int:
        return 0 if other == 1 else Joined("%", self, other)


Int = int | Whole


@dataclass(frozen=True)
class Index(Whole):
    """A loop variable."""

    name: str


@dataclass(frozen=True)
class Size(Whole):
    """An argument: a length, or the first of some cells."""

    name: str


@dataclass(frozen=True)
class Entry(Whole):
    """The whole number at a place of an index array."""

    indices: str
    at: Int


@dataclass(frozen=True)
class Joined(Whole):
    """`wrap`: a number below twice another one, less that where it is not below it."""

    operator: str
    left: Int
    right: Int
