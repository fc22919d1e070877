"""Kernels of mirrors: one per list of operations, applied to every weight in their order.

    mirror B = W : transpose truncate add:extra        x = 0.0
                                                       if j < source_post and k < source_pre:
                                                           x = m[source + ...]
                                                       x = x + m[array0 + ...]
"""

from __future__ import annotations

import numpy as np

from cortexc.compiler.backends.feeding import noise_columns, redrawn_name
from cortexc.compiler.backends.kernels.layout import shape_of
from cortexc.compiler.backends.kernels.nest import Array, Below, Kernel
from cortexc.compiler.backends.kernels.operations import IndexSlot, Operation, Slot, SlotTable
from cortexc.compiler.backends.kernels.table import KernelTable
from cortexc.compiler.backends.kernels.whole import Int
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.expressions import Binary, Call, Name, Negate, Node, Number, Where
from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.ir.model import Graph, Mirror, weight_shape


def mirror_operation(graph: Graph, mirror: Mirror, slots: SlotTable, kernels: KernelTable) -> Operation:
    """The operation that rewrites the target's weights. Raises E504 for a second cut to other axes."""
    words = [word.partition(":")[0] for word in single_cut(graph, mirror)]
    kernel = Kernel(f"target := {' '.join(words)} of source; all pre-major.")
    listed = graph.class_of(mirror.target).kind.listed
    (_ListCode if listed else _MirrorCode)(kernel, graph, mirror, slots, words).write()
    name = "_".join(["mirror_list" if listed else "mirror", *words])
    return kernels.operation(name, kernel, graph.projection(mirror.target).group, mirror.target, mirror.gate or "")


class _MirrorCode:
    """Loops over all weights (j, k) of the target; what lies outside the source is 0 from the cut on."""

    def __init__(self, kernel: Kernel, graph: Graph, mirror: Mirror, slots: SlotTable, words: list[str]):
        self.kernel, self.words = kernel, words
        target, source = (shape_of(graph, graph.projection(name)) for name in (mirror.target, mirror.source))
        self.n_post, self.n_pre = kernel.size("n_post", target.post), kernel.size("n_pre", target.rows)
        self.copies, width = target.copies, kernel.size("width", target.width)
        self.source_post, self.source_pre = (kernel.size("source_post", source.post),
                                             kernel.size("source_pre", source.rows))
        self.shared = source.copies == 1
        self.target = kernel.array("target", Slot(f"{mirror.target}.w"), self.n_pre, width, self.copies)
        self.source = kernel.array("source", Slot(f"{mirror.source}.w"), self.source_pre,
                                   kernel.size("source_width", source.width), source.copies)
        self.arrays = [kernel.array(f"array{i}", slots.add(slot, target.weights), self.n_pre, width, self.copies)
                       for i, slot in enumerate(array_slots(graph, mirror))]
        self.drawn: Array | None = None
        if "redraw" in words:
            name = redrawn_name(graph, mirror)
            columns = dict(noise_columns(graph))[name]
            self.drawn = kernel.array("drawn", slots.add(name, columns.stop - columns.start),
                                      self.copies, self.n_post, self.n_pre)

    def write(self) -> None:
        with self.kernel.loop("j", self.n_pre) as j, self.kernel.loop("k", self.n_post) as k, \
                self.kernel.loop("c", self.copies) as c:
            self._weight(j, k, c)

    def _weight(self, j: Int, k: Int, c: Int) -> None:
        cut = self.words.index("truncate") if "truncate" in self.words else 0
        row, column = (k, j) if self.words.count("transpose") % 2 else (j, k)
        x = self.kernel.let("x", 0.0)
        inside = Binary("and", Below(row, self.source_pre), Below(column, self.source_post))
        with self.kernel.when(inside if "truncate" in self.words else None):
            self.kernel.set(x, self.source[row, column, 0 if self.shared else c])
            self._operations(0, cut, (j, k, c))
        self._operations(cut, len(self.words), (j, k, c))
        self.kernel.store(self.target[j, k, c], x)

    def _operations(self, first: int, last: int, at: tuple[Int, ...]) -> None:
        """Some of the operations on `x`; arrays lie as the target does, draws as they were drawn."""
        x = Name("x")
        for index in range(first, last):
            word = self.words[index]
            used = sum(earlier in WITH_ARRAY for earlier in self.words[:index])
            if word in SIMPLE:
                self.kernel.set(x, SIMPLE[word])
            elif word in WITH_ARRAY:
                array: Node = self.arrays[used][at]
                by = array * self._draw(index, at) if word == "redraw" else array
                self.kernel.set(x, x + by if word == "add" else x * by)

    def _draw(self, index: int, at: tuple[Int, ...]) -> Node:
        (j, k, c), turned = at, self.words[index:].count("transpose") % 2
        assert self.drawn is not None
        return Call("abs", (self.drawn[c, j, k] if turned else self.drawn[c, k, j],))


class _ListCode(_MirrorCode):
    """A loop over the synapses of the target, in canonical order on both sides."""

    def __init__(self, kernel: Kernel, graph: Graph, mirror: Mirror, slots: SlotTable, words: list[str]):
        self.kernel, self.words, self.mirror = kernel, words, mirror
        target, source = (shape_of(graph, graph.projection(name)) for name in (mirror.target, mirror.source))
        self.count, self.copies = kernel.size("synapses", target.listed or 0), target.copies
        self.shared, ends = source.copies == 1, (("target", mirror.target, target), ("source", mirror.source, source))
        self.target, self.source = (kernel.array(end, Slot(f"{name}.w"), self.count, shape.copies)
                                    for end, name, shape in ends)
        self.arrays = [kernel.array(f"array{i}", slots.add(slot, target.weights), self.count, self.copies)
                       for i, slot in enumerate(array_slots(graph, mirror))]

    def write(self) -> None:
        with self.kernel.loop("s", self.count) as s, self.kernel.loop("c", self.copies) as c:
            places = self.kernel.indices("of_places", IndexSlot(f"{self.mirror.source}.column_places"))
            x = self.kernel.let("x", self.source[places[s] if self.mirror.turned else s, 0 if self.shared else c])
            self._operations(0, len(self.words), (s, c))
            self.kernel.store(self.target[s, c], x)


SIMPLE: dict[str, Node] = {"negate": Negate(Name("x")), "sign": Where(
    Binary(">", Name("x"), Number(0.0)), Number(1.0),
    Where(Binary("<", Name("x"), Number(0.0)), Number(-1.0), Number(0.0)))}
WITH_ARRAY = ("add", "times", "redraw")


def single_cut(graph: Graph, mirror: Mirror) -> list[str]:
    """The operations with one `truncate` at most: what has the target's shape is not cut again."""
    if graph.class_of(mirror.target).kind.listed:
        return list(mirror.operations)
    shape, wanted = (weight_shape(graph, graph.projection(name)) for name in (mirror.source, mirror.target))
    words: list[str] = []
    for word in mirror.operations:
        shape = shape[::-1] if word == "transpose" else shape
        if word == "truncate" and shape == wanted:
            continue
        if word == "truncate" and word in words:
            raise CortexError("E504", f"mirror '{mirror.target}' of '{mirror.source}' cuts twice, to shape {wanted} "
                                      f"from {shape}: {' '.join(mirror.operations)}.", "Transpose before you truncate.")
        shape = wanted if word == "truncate" else shape
        words.append(word)
    return words


def array_slots(graph: Graph, mirror: Mirror) -> list[str]:
    """A slot for every array that a mirror uses; several mirrors may rewrite one target."""
    earlier = graph.mirrors[:graph.mirrors.index(mirror)]
    before = sum(len(_arrays(m)) for m in earlier if m.target == mirror.target)
    numbers = range(before, before + len(_arrays(mirror)))
    return [f"mirror {mirror.target}.array" + (f"#{n}" if n else "") for n in numbers]


def _arrays(mirror: Mirror) -> list[str]:
    return [word for word in mirror.operations if ":" in word]


def mirror_arrays(graph: Graph, mirror: Mirror) -> dict[str, Floats]:
    """Slot -> the array, as the transpositions after it turn it, with the target's copies in front."""
    target, listed = graph.projection(mirror.target), graph.class_of(mirror.target).kind.listed
    full = (shape_of(graph, target).copies, *weight_shape(graph, target))
    found = []
    for index, word in enumerate(mirror.operations):
        if ":" in word:
            array = np.broadcast_to(graph.arrays[word.partition(":")[2]], full)
            turned = mirror.operations[index:].count("transpose") % 2
            found.append(array.swapaxes(1, 2) if turned and not listed else array)
    return dict(zip(array_slots(graph, mirror), found, strict=True))
