"""What a map says of its learning engine: scales, words and counts, with the source of each limit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from cortexc.hardware_maps import HardwareMap


def has_engine(hardware: HardwareMap) -> bool:
    """Whether the map binds rules to a form; any rule that is local will do on others."""
    return math.isfinite(hardware.number("learning.scale_mantissa_high"))


def nearest_scale(value: float, bits: int) -> float:
    """The nearest m * 2**e with m of so many bits, of either sign."""
    mantissa, exponent = math.frexp(value)
    return math.copysign(math.ldexp(round(mantissa * 2**bits), exponent - bits), value)


def scale_text(value: float) -> str:
    """`5*2^-9`; a number where it is no small whole number times a power of two."""
    if value == 0:
        return "0"
    numerator, denominator = abs(value).as_integer_ratio()
    shift = (numerator & -numerator).bit_length() - 1
    exponent, whole = shift - denominator.bit_length() + 1, numerator >> shift
    sign = "-" if value < 0 else ""
    return f"{sign}2^{exponent}" if whole == 1 else f"{sign}{whole}*2^{exponent}"


@dataclass(frozen=True)
class Limits:
    """The engine's part of a map."""

    hardware: HardwareMap

    @property
    def bits(self) -> int:
        """Of the mantissa of a scale: 3 where it goes to 7."""
        return int(math.log2(self.hardware.number("learning.scale_mantissa_high") + 1))

    def nearest(self, scale: Fraction) -> float:
        return nearest_scale(float(scale), self.bits)

    def holds(self, scale: Fraction) -> bool:
        """Whether it is m * 2**e, up to the rounding of numbers."""
        return math.isclose(self.nearest(scale), float(scale), rel_tol=1e-12)

    def names(self, name: str) -> list[str]:
        value = self.hardware.value(f"learning.{name}")
        return list(value) if isinstance(value, list | tuple) else []

    def traces(self, name: str) -> int:
        """Variables of one side besides the spike itself."""
        return sum(not each.endswith("0") for each in self.names(name))

    def flag(self, name: str) -> bool:
        return bool(self.hardware.value(f"learning.{name}"))

    def number(self, name: str) -> float | None:
        """Of a field of `learning`, or of another group that the name has."""
        value = self.hardware.value(_field(name))
        return float(value) if isinstance(value, int | float) else None

    def source(self, name: str) -> str:
        return f"[{self.hardware.scalar(_field(name)).source}]"

    def out_of_range(self, scale: Fraction, what: str) -> Iterator[str]:
        """Of a product of the synapse's own variables, which has no unit that a format could choose."""
        nearest = abs(self.nearest(scale))
        low, high = self.number("scale_exponent_low"), self.number("scale_exponent_high")
        says = f"the {what} has the scale {scale_text(nearest)}; exponents of {self.hardware.name}"
        if low is not None and math.isfinite(low) and nearest % 2.0**low:
            yield f"{says} begin at {low:.0f} {self.source('scale_exponent_low')}"
        if high is not None and math.isfinite(high) and nearest >= 2.0**(high + self.bits):
            yield f"{says} end at {high:.0f} {self.source('scale_exponent_high')}"

    def no_scale(self, scale: Fraction) -> str:
        return (f"scale {float(scale):.6g} is not m * 2**e with |m| below {2**self.bits}: the nearest is "
                f"{scale_text(self.nearest(scale))}")


def _field(name: str) -> str:
    return name if "." in name else f"learning.{name}"
