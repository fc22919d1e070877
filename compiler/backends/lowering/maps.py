"""Kernels of projections between feature maps: convolutions, locally connected layers, and their way back.

Weights lie as a matrix (taps, kernels): a row per tap (channel, kernel row, kernel column), a column per channel, or,
`local`, per unit of the upper maps. Lower maps are pooled and padded into a scratch `patches` first. Inner loops run
over a row of pixels times samples; the taps of one kernel row are added in one pass, left to right.
"""

from __future__ import annotations

from compiler.backends.kernels.operations import Argument
from compiler.backends.lowering.summed import BLOCK
from compiler.backends.lowering.synapses import ProjectionLowering
from compiler.ir.errors import CortexError
from compiler.ir.expressions import Name, Prev
from compiler.ir.model import PlasticityRule

PIXELS = 4
"""Pixels whose products one pass of a learning rule adds."""


class MapLowering(ProjectionLowering):
    """A projection with a `Convolution`."""

    def _geometry(self) -> dict[str, str]:
        """Sizes as constants of the kernel text."""
        c = self.projection.convolution
        assert c is not None
        height, width = (n // c.pool + 2 * c.padding for n in c.pre[1:])
        sizes = {"O": c.post[0], "Ho": c.post[1], "Wo": c.post[2], "H": height, "W": width, "channels": c.pre[0],
                 "K": c.kernel, "S": c.stride, "pool": c.pool, "pad": c.padding, "wide": c.post[2] + 2 * c.kernel - 2,
                 "P": c.positions}
        copies, repeats = self.shape.literals
        return {name: f"unsigned_{size}" for name, size in sizes.items()} | {"C": copies, "R": repeats}

    @property
    def local(self) -> bool:
        return self.synapse.connectivity.endswith("local")

    @property
    def back(self) -> bool:
        return self.synapse.connectivity.startswith("transposed")

    @property
    def pads(self) -> bool:
        """Whether lower maps differ from the patches' pixels."""
        c = self.projection.convolution
        assert c is not None
        return c.pool > 1 or c.padding > 0

    def _variant(self) -> str:
        return f"{self.synapse.connectivity}{'' if self.shape.batch == 1 else '_batch'}"

    def _check_supported(self, rule: PlasticityRule) -> None:
        super()._check_supported(rule)
        product = len(self.factors.pre) == 1 and isinstance(self.factors.pre[0], Name | Prev)
        if self.back or rule.states or not product or not self.is_product:
            raise CortexError("E501", f"projection '{self.projection.name}': rule '{rule.name}' on connectivity "
                                      f"'{self.synapse.connectivity}' has no lowering yet.",
                              "Lowered are rules that multiply one postsynaptic factor with one presynaptic quantity, "
                              "on forward connectivity. Run others on the interpreter (--backend interpreter).")

    def _shape_arguments(self) -> dict[str, Argument]:
        c = self.projection.convolution
        assert c is not None
        pixels = c.pre[0] * (c.pre[1] // c.pool + 2 * c.padding) * (c.pre[2] // c.pool + 2 * c.padding)
        names = super()._shape_arguments()
        names["patches"] = self.slots.add(self.slot("patches"), pixels * self.shape.batch)
        if self.back and not self.local and c.stride == 1:
            wide = c.post[0] * c.post[1] * (c.post[2] + 2 * (c.kernel - 1))
            names["widened"] = self.slots.add(self.slot("widened"), wide * self.shape.batch)
        if self.rule:
            names["sample"] = self.slots.add(self.slot("sample"), self.shape.repeats)
        return names

    # ---- delivery

    def _product(self, update: list[str] | None) -> list[str]:
        size = self.shape.post_cells * self.shape.batch
        zeroed = [f"for i in range(unsigned_{size}):", "    m[current + i] = 0.0"]
        if self.back:
            lines = self._backward()
        else:
            lines = [*self._pooled("pre"), *zeroed, *(self._forward_local() if self.local else self._forward())]
        return self._filled(lines)

    def _filled(self, lines: list[str]) -> list[str]:
        """Lines with the geometry's constants in place of [NAMES]."""
        table = self._geometry()
        result = []
        for line in lines:
            for name, literal in table.items():
                line = line.replace(f"[{name}]", literal)
            result.append(line)
        return result

    def _pooled(self, source: str) -> list[str]:
        """`seen`: where the pooled and padded lower maps are."""
        if not self.pads:
            return [f"seen = {source}"]
        c = self.projection.convolution
        assert c is not None
        rows, columns = (f"unsigned_{n // c.pool}" for n in c.pre[1:])
        pixel = f"((h * {rows} + y) * [pool] + dy) * {columns} * [pool] + x * [pool] + dx"
        total = ["total = 0.0", "for dy in range([pool]):", "    for dx in range([pool]):",
                 f"        total += m[{source} + ({pixel}) * [C] * [R] + b]"]
        mean = f"total / {float(c.pool * c.pool)!r}" if c.pool > 1 else "total"
        return ["seen = patches", "for h in range([channels]):", f"    for y in range({rows}):",
                f"        for x in range({columns}):", "            for b in range([C] * [R]):",
                *("                " + line for line in total),
                f"                m[seen + ((h * [H] + y + [pad]) * [W] + x + [pad]) * [C] * [R] + b] = {mean}"]

    def _taps(self) -> list[range]:
        """Kernel columns that one pass adds."""
        c = self.projection.convolution
        assert c is not None
        return [range(first, min(first + BLOCK, c.kernel)) for first in range(0, c.kernel, BLOCK)]

    @property
    def _flat(self) -> bool:
        """Whether a row of pixels times samples is contiguous at both ends."""
        c = self.projection.convolution
        assert c is not None
        return c.stride == 1 and self.shape.copies == 1

    def _along(self, taps: range, pixels: str, sign: str) -> list[str]:
        """Adds the taps' products to a row at `to` from a row at `at`; tap u is `sign` u pixels away."""
        if self._flat:
            terms = [f"x{u} * m[at + i {sign} unsigned_{u} * [R]]" for u in taps]
            return [f"for i in range({pixels} * [R]):", f"    m[to + i] = {' + '.join(['m[to + i]', *terms])}"]
        terms = [f"x{u} * m[at + (x * [S] {sign} unsigned_{u}) * [C] * [R] + r]" for u in taps]
        return [f"for x in range({pixels}):", "    for r in range([R]):", "        here = to + x * [C] * [R] + r",
                f"        m[here] = {' + '.join(['m[here]', *terms])}"]

    @staticmethod
    def _weights(taps: range, column: str) -> list[str]:
        return [f"x{u} = m[w + ((tap + unsigned_{u}) * width + {column}) * [C] + c]" for u in taps]

    def _forward(self) -> list[str]:
        lines = ["for o in range([O]):", "    for h in range([channels]):", "        for ky in range([K]):",
                 "            tap = (h * [K] + ky) * [K]", "            for c in range([C]):"]
        for taps in self._taps():
            lines += [16 * " " + line for line in [
                *self._weights(taps, "o"), "for y in range([Ho]):",
                "    to = current + (((o * [Ho] + y) * [Wo]) * [C] + c) * [R]",
                "    at = seen + (((h * [H] + y * [S] + ky) * [W]) * [C] + c) * [R]",
                *("    " + line for line in self._along(taps, "[Wo]", "+"))]]
        return lines

    def _forward_local(self) -> list[str]:
        lines = ["for o in range([O]):", "    for y in range([Ho]):", "        for x in range([Wo]):",
                 "            k = (o * [Ho] + y) * [Wo] + x", "            for h in range([channels]):",
                 "                for ky in range([K]):", "                    tap = (h * [K] + ky) * [K]",
                 "                    for c in range([C]):"]
        for taps in self._taps():
            terms = [f"x{u} * m[at + unsigned_{u} * [C] * [R] + r]" for u in taps]
            lines += [24 * " " + line for line in [
                *self._weights(taps, "k"), "to = current + (k * [C] + c) * [R]",
                "at = seen + (((h * [H] + y * [S] + ky) * [W] + x * [S]) * [C] + c) * [R]",
                "for r in range([R]):", f"    m[to + r] = {' + '.join(['m[to + r]', *terms])}"]]
        return lines

    def _backward(self) -> list[str]:
        """The way back: sums over the upper channels and the kernel in `patches`, then shared out over pools."""
        c = self.projection.convolution
        assert c is not None
        zeroed = ["for i in range([channels] * [H] * [W] * [C] * [R]):", "    m[patches + i] = 0.0"]
        lines = self._backward_rows() if not self.local and c.stride == 1 else self._backward_taps()
        mean = f" / {float(c.pool * c.pool)!r}" if c.pool > 1 else ""
        rows, columns = (f"unsigned_{n}" for n in c.pre[1:])
        shared = ["for h in range([channels]):", f"    for y in range({rows}):", f"        for x in range({columns}):",
                  "            at = (h * [H] + y // [pool] + [pad]) * [W] + x // [pool] + [pad]",
                  "            at = patches + at * [C] * [R]",
                  f"            to = current + ((h * {rows} + y) * {columns} + x) * [C] * [R]",
                  "            for b in range([C] * [R]):", f"                m[to + b] = m[at + b]{mean}"]
        return [*zeroed, *lines, *shared]

    def _backward_rows(self) -> list[str]:
        """A kernel row at a time; `widened` are the upper maps with kernel - 1 zeros at both ends of a row."""
        lines = ["for o in range([O] * [Ho]):", "    for i in range([Wo] * [C] * [R]):",
                 "        m[widened + (o * [wide] + [K] - one) * [C] * [R] + i] = m[pre + o * [Wo] * [C] * [R] + i]",
                 "for o in range([O]):", "    for ky in range([K]):", "        for h in range([channels]):",
                 "            tap = (h * [K] + ky) * [K]", "            for c in range([C]):"]
        for taps in self._taps():
            lines += [16 * " " + line for line in [
                *self._weights(taps, "o"), "for y in range([Ho]):",
                "    to = patches + (((h * [H] + y + ky) * [W]) * [C] + c) * [R]",
                "    at = widened + (((o * [Ho] + y) * [wide] + [K] - one) * [C] + c) * [R]",
                *("    " + line for line in self._along(taps, "[W]", "-"))]]
        return lines

    def _backward_taps(self) -> list[str]:
        """One tap at a time: for strides, and for weights that differ between positions."""
        column = "(o * [Ho] + y) * [Wo] + x" if self.local else "o"
        return ["for o in range([O]):", "    for ky in range([K]):", "        for kx in range([K]):",
                "            for h in range([channels]):", "                tap = (h * [K] + ky) * [K] + kx",
                "                for y in range([Ho]):", "                    for x in range([Wo]):",
                "                        for c in range([C]):",
                f"                            x0 = m[w + (tap * width + {column}) * [C] + c]",
                "                            to = (h * [H] + y * [S] + ky) * [W] + x * [S] + kx",
                "                            to = patches + (to * [C] + c) * [R]",
                "                            at = pre + (((o * [Ho] + y) * [Wo] + x) * [C] + c) * [R]",
                "                            for r in range([R]):",
                "                                m[to + r] = m[to + r] + x0 * m[at + r]"]

    # ---- learning

    def increment_rows(self) -> tuple[dict[str, Argument], list[str], list[str]]:
        there = self.factors.is_delivered and self.pads
        prepared = ["seen = patches"] if there else self._pooled("pre")
        row = ["h, ky, kx = j // ([K] * [K]), j // [K] % [K], j % [K]",
               *(self._row_local() if self.local else self._row())]
        return {}, self._filled(prepared), self._filled(row)

    def _row(self) -> list[str]:
        """Per kernel: products summed over positions, for every sample; then over samples. To begin with -0 keeps the
        sign of a zero."""
        c = self.projection.convolution
        assert c is not None

        def block(count: int) -> list[str]:
            terms = [f"m[p + unsigned_{u} * [C] * [R] + r] * m[at + unsigned_{u * c.stride} * [C] * [R] + r]"
                     for u in range(count)]
            return ["p = post + (((o * [Ho] + y) * [Wo] + x) * [C] + c) * [R]",
                    "at = seen + (((h * [H] + y * [S] + ky) * [W] + x * [S] + kx) * [C] + c) * [R]",
                    "for r in range([R]):", f"    m[sample + r] = {' + '.join(['m[sample + r]', *terms])}"]

        whole, left = c.post[2] // PIXELS * PIXELS, c.post[2] % PIXELS
        lines = [f"for x in range(zero, unsigned_{whole}, unsigned_{PIXELS}):", *("    " + s for s in block(PIXELS))] \
            if whole else []
        lines += [f"x = unsigned_{whole}", *block(left)] if left else []
        return ["for o in range([O]):", "    for c in range([C]):", "        for r in range([R]):",
                "            m[sample + r] = -0.0", "        for y in range([Ho]):",
                *("            " + line for line in lines), "        total = m[sample]",
                "        for r in range(one, [R]):", "            total += m[sample + r]",
                "        m[row + o * [C] + c] = total"]

    def _row_local(self) -> list[str]:
        return ["for o in range([O]):", "    for y in range([Ho]):", "        for x in range([Wo]):",
                "            k = (o * [Ho] + y) * [Wo] + x", "            for c in range([C]):",
                "                p = post + (k * [C] + c) * [R]",
                "                at = seen + (((h * [H] + y * [S] + ky) * [W] + x * [S] + kx) * [C] + c) * [R]",
                "                total = m[p] * m[at]", "                for r in range(one, [R]):",
                "                    total += m[p + r] * m[at + r]", "                m[row + k * [C] + c] = total"]

