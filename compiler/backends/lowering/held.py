"""Kernels of a projection whose input is held during a presentation: its form (`passes/held_forms.py`), printed.

Scalars of the form lie in a book, with the rows of the sample table that the product is of; vectors in slots of their
own. Lines along the same cells share a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, reduce
from itertools import groupby

import numpy as np

from cortexc.compiler.backends.kernels.layout import Shape
from cortexc.compiler.backends.kernels.nest import Accumulation, Array, Axis, Kernel, Load, Shown, compared
from cortexc.compiler.backends.kernels.operations import Operation, Slot, slot_name
from cortexc.compiler.backends.kernels.whole import Index, Int
from cortexc.compiler.backends.lowering.learning import Learning
from cortexc.compiler.backends.lowering.listed import axes_of
from cortexc.compiler.backends.lowering.summed import OPTIMISERS, At, Optimiser, Summed
from cortexc.compiler.backends.lowering.synapse_code import SynapseCode
from cortexc.compiler.ir.expressions import Binary, Expression, Name, Node, Number, reads, transform
from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.passes.held_forms import MATRICES, POST, PRE, SCALARS, Form, Line, Lines, as_read, first_values

ROWS = len(SCALARS)
"""Where in the book the samples' rows begin."""


class Held:
    """The operations of one such projection. `summed`: those of its optimiser, where that sums increments."""

    def __init__(self, owner: SynapseCode, form: Form, summed: Summed | None):
        self.owner, self.projection, self.shape = owner, owner.projection, owner.shape
        self.form, self.summed = form, summed
        self.twin: Held | None = None
        self.book = owner.slots.add(owner.slot("held_book"), ROWS + self.shape.batch)
        lengths = {"pre": self.shape.cells[0] * self.shape.batch, "post": self.shape.post_cells * self.shape.batch}
        self.lengths = {name: lengths[axis] for axis, names in (("pre", PRE), ("post", POST)) for name in names}

    def slot(self, name: str) -> Slot:
        """Of a vector or matrix of the form."""
        o, rule = self.owner, self.owner.rule
        if name == "w":
            return o.weight_slot
        if name == "current":
            return Slot(o.slot(name))
        if name == "held":
            assert rule is not None
            return o.slots.add(o.slot(rule.optimiser.kind), self.shape.weights)
        if name == "p":
            return Slot(o.own("post_factor0"))
        if name == "given":
            return Slot(slot_name(self.projection.pre, self.form.x))
        return o.slots.add(o.slot(f"held_{name}"), self.lengths[name])

    @property
    def skips(self) -> bool:
        """Without a batch, inputs of 0 cost nothing: they add nothing."""
        return bool(self.summed) and self.shape.batch == 1 and self.projection.convolution is None

    # ---- delivery

    def delivery(self) -> Operation:
        """Delivers W x; `pending` says that the last step learned. The second of twins: what the first one's left."""
        if self.owner.leader:
            return self._sending()
        kernel = Kernel("W x of a held input, when the presentation or the weights have changed.", "delivery")
        form, code = self.form, FormCode(self, kernel)
        code.write(form.deliver)
        if form.learn:
            with kernel.when(compared(Name("pending"), "!=", 0.0)):
                code.write(form.learn)
        rows = [code.book[ROWS + b] for b in range(self.shape.batch)]
        same = [code.holds("valid"), *(compared(row, "==", Shown(b)) for b, row in enumerate(rows))]
        with kernel.when(compared(reduce(lambda a, b: Binary("and", a, b), same), "==", 0.0)):
            code.turn()
            for b, row in enumerate(rows):
                kernel.store(row, Shown(b))
        code.write(form.send)
        return self.owner.of_rule("held_product", kernel, self.owner.gate if form.learn else "", "hoisted")

    def _sending(self) -> Operation:
        kernel = Kernel("Sends the product of a held input.")
        FormCode(self, kernel).write(self.form.send)
        return self.owner.of_rule("held_sending", kernel)

    # ---- learning

    def flush(self) -> Operation:
        """Applies the present step's increment and, for a recording, brings the matrices up to date.

        At the end of a block only the books move, so results do not depend on where blocks are cut.
        """
        kernel = Kernel("Closes a step; brings the matrices up to date unless a block merely ends.", "closing")
        code = FormCode(self, kernel)
        code.write(self.form.deliver)
        with kernel.when(compared(kernel.gate("learn", self.owner.gate), ">", 0.0)):
            code.write(self.form.learn)
        with kernel.when(Binary("and", code.holds("behind"), compared(Name("end_of_block"), "==", 0.0))):
            code.write(self.form.catch_up)
            kernel.store(code.place("valid"), 0.0)
        return self.owner.of_rule("held_materialise", kernel, kind="materialise")

    def gather(self) -> Operation:
        kernel = Kernel("Sums the postsynaptic factor.")
        FormCode(self, kernel).write(self.form.gather)
        return self.owner.of_rule("held_factor", kernel, self.owner.gate)

    def apply(self) -> Operation:
        """The optimiser's step; the product q x^T is made on the way where nothing else has been summed."""
        o, summed = self.owner, self.summed
        assert summed is not None
        kernel = Kernel(f"Applies the summed increments of rule {summed.rule.name} ({summed.kind}).")
        code = FormCode(self, kernel)
        learning = code.learning
        optimiser = OPTIMISERS[summed.kind](summed, learning)

        def direct(at: At, increment: Node) -> None:
            summed.step(learning, optimiser, at, increment)

        if summed.kind == "clipped":  # needs the norm of all sums first
            self._apply_sums(code, summed, optimiser)
        else:
            with kernel.when(Binary("and", code.holds("empty"), code.holds("gathered"))):
                o.increments_by_rows(learning, direct, self.skips and summed.kind == "accumulate", self.slot("q"),
                                     self.slot("x"))
            with kernel.otherwise():
                self._apply_sums(code, summed, optimiser)
        code.write([line for line in self.form.update if not line.sums])
        return o.of_rule("held_apply", kernel, summed.apply_gate)

    def _apply_sums(self, code: FormCode, summed: Summed, optimiser: Optimiser) -> None:
        code.write([line for line in self.form.update if line.sums])
        summed.apply_sums(code.learning, optimiser)

    # ---- memory

    def initial(self, before: Floats) -> dict[str, Floats]:
        """First values: the last input is the message's initial value."""
        book, values = np.zeros(ROWS + self.shape.batch), first_values(self.form)
        book[[SCALARS.index(name) for name in values]] = list(values.values())
        return {self.book.name: book} | ({self.slot("x").name: before} if "x_old" in self.form.keeps else {})


class FormCode:
    """Writing lines of a form into one kernel."""

    def __init__(self, held: Held, kernel: Kernel):
        self.held, self.kernel = held, kernel
        self.axes = axes_of(kernel, held.shape, held.projection.name, True)
        self.book = kernel.array("book", held.book, ROWS + held.shape.batch)
        self.locals: dict[str, Name] = {}
        self.names = 0

    @cached_property
    def learning(self) -> Learning:
        return self.held.owner.learning(self.kernel, whole=True)

    def place(self, scalar: str) -> Load:
        return self.book[SCALARS.index(scalar)]

    def holds(self, scalar: str) -> Node:
        return compared(self.place(scalar), ">", 0.0)

    def write(self, lines: Iterable[Line]) -> None:
        """Lines along the same cells share a loop."""
        kinds = {"pre": self._vectors, "post": self._vectors, "matrix": self._matrices, "": self._scalars}
        for (when, axis, sums), group in groupby(lines, lambda line: (line.when, axis_of(line.target), line.sums)):
            with self.kernel.when(self._value(when) if when else None):
                if not sums:
                    kinds[axis](tuple(group))
                elif axis:
                    for each in group:
                        self._product(each)
                else:
                    self._sums(tuple(group))

    def _scalars(self, lines: Lines) -> None:
        for line in lines:
            value = self._value(line.value)
            if line.target in SCALARS:
                self._give(self.place(line.target), line, value)
            else:
                self.locals[line.target] = self._let(line.target, value)

    def _vectors(self, lines: Lines) -> None:
        with self._taken(lines, SCALARS):
            for axis, group in groupby(lines, lambda line: axis_of(line.target)):
                with self.kernel.loop("k", self._length(axis)) as k:
                    for line in group:
                        self._give(self._vector(line.target)[k], line, self._value(line.value, k, k))

    def _matrices(self, lines: Lines) -> None:
        with self._taken(lines, SCALARS), self.axes.each_row() as j, self._taken(lines, PRE, j), \
                self.axes.each_along(j) as (k, c):
            for line in lines:
                self._give(self._matrix(line.target)[j, k, c], line, self._value(line.value, j, k))

    def _product(self, line: Line) -> None:
        """`sum(w * x)` of a matrix, or `sum(q * x)` into one."""
        assert isinstance(line.value, Binary)
        left, right = (side.name for side in (line.value.left, line.value.right) if isinstance(side, Name))
        owner, skips = self.held.owner, self.held.skips
        if axis_of(line.target) == "post":
            to = [held.slot(line.target) for held in (self.held, self.held.twin) if held]
            owner.product(self.kernel, self.held.slot(right), to, None, self.axes, skips,
                          None if owner.twin else self.held.slot(left))
        else:
            sums = self._matrix(line.target)
            owner.increments_by_rows(self.learning, lambda at, increment: self.kernel.add(sums[at], increment), skips,
                                     self.held.slot(left), self.held.slot(right))

    def _sums(self, lines: Lines) -> None:
        """Over presynaptic cells."""
        totals = [self._let(line.target, Number(0.0)) for line in lines]
        with self.kernel.loop("j", self._length("pre")) as j:
            for line, total in zip(lines, totals, strict=True):
                self.kernel.set(total, total + self._value(line.value, j))
        for line, total in zip(lines, totals, strict=True):
            self.kernel.store(self.place(line.target), total)

    def _give(self, to: Load, line: Line, value: Node) -> None:
        (self.kernel.add if line.adds else self.kernel.store)(to, value)

    def turn(self) -> None:
        """Another presentation: the matrices take what they lag behind, and are multiplied with the new input."""
        catch_up, turn, shape = self.held.form.catch_up, self.held.form.turn, self.held.shape
        if not catch_up or shape.batch > 1 or shape.maps or self.held.owner.synapse.unit:
            with self.kernel.when(self.holds("behind") if catch_up else None):
                self.write(catch_up)
            return self.write(turn)
        products = [replace(line, value=_of_given(line.value)) for line in turn if line.sums and axis_of(line.target)]
        with self.kernel.when(self.holds("behind")):
            self._matrices_on_the_way(tuple(filter(_is_matrix, catch_up)), products)
            self.write(line for line in catch_up if not _is_matrix(line))
        with self.kernel.otherwise():
            self.write(products)
        self.write(line for line in turn if not (line.sums and axis_of(line.target)))

    def _matrices_on_the_way(self, lines: Lines, products: Sequence[Line]) -> None:
        """Lines of matrices, with products of them and the input in the same pass."""
        kernel, j, k, new = self.kernel, Index("j"), Index("k"), {}
        with self._taken(lines, SCALARS):
            with kernel.apart() as row, self._taken(lines, PRE, j):
                given = self._let("given", self._vector("given")[j])
                with kernel.apart() as each:
                    for line in lines:
                        place, value = self._matrix(line.target)[j, k, 0], self._value(line.value, j, k)
                        new[line.target] = self._let(line.target, place + value if line.adds else value)
                        kernel.store(place, new[line.target])
            (to, term), *more = [(self._vector(line.target)[k], new[_matrix_of(line.value)] * given)
                                 for line in products]
            kernel.body.append(Accumulation(to, Axis(k, self.axes.width), (Axis(j, self.axes.rows),), term,
                                            row=tuple(row), each=tuple(each), more=tuple(more)))

    # ---- values

    def _let(self, name: str, value: Node) -> Name:
        self.names += 1
        return self.kernel.let(f"{name}_{self.names}", value)

    @contextmanager
    def _taken(self, lines: Lines, names: Collection[str], j: Int = 0) -> Iterator[None]:
        """What the lines read of these names is loaded once, before their loop."""
        before, self.locals = self.locals, dict(self.locals)
        for name in sorted({name for line in lines for name in reads(line.value)} & {*names}):
            self.locals[name] = self._let(name, self._leaf(name, j, 0))
        yield
        self.locals = before

    def _value(self, expression: Expression, j: Int = 0, k: Int = 0) -> Node:
        """At presynaptic cell j and postsynaptic cell k."""
        return transform(expression, lambda e: self._leaf(e.name, j, k) if isinstance(e, Name) else e)

    def _leaf(self, name: str, j: Int, k: Int) -> Node:
        form, projection = self.held.form, self.held.projection
        if name in self.locals:
            return self.locals[name]
        if name == "rate" and form.rate is not None:
            return self.learning.translation.value(form.rate)
        if name == "u" and form.u is not None:
            return self.kernel.array("u", Slot(slot_name(projection.pre, form.u)), 1)[0]
        if name in SCALARS:
            return self.place(name)
        return self._matrix(name)[j, k, 0] if name in MATRICES else self._vector(name)[j if name in PRE else k]

    def _length(self, axis: str) -> Int:
        return self.kernel.size(f"n_{axis}", self.held.lengths["x" if axis == "pre" else "q"])

    def _vector(self, name: str) -> Array:
        return self.kernel.array(f"at_{name}", self.held.slot(name), self._length(axis_of(name)))

    def _matrix(self, name: str) -> Array:
        return self.axes.weights(name, self.held.slot(name))


def axis_of(name: str) -> str:
    return "pre" if name in PRE else "post" if name in POST else "matrix" if name in MATRICES else ""


def _is_matrix(line: Line) -> bool:
    return axis_of(line.target) == "matrix"


def _of_given(value: Expression) -> Expression:
    """With the new input, before x has its value."""
    return transform(value, lambda e: Name("given") if e == Name("x") else e)


def _matrix_of(product: Expression) -> str:
    return next(name for name in MATRICES if name in reads(product))


def as_packed(form: Form, name: str, shape: Shape, read: Callable[[str], Floats]) -> Floats:
    """The packed weights, or low-passed increments, as they would be without the form. `read` gives a slot by
    its name without the owner, as in memory."""
    def look(what: str) -> Floats:
        if what in MATRICES:
            return read("w" if what == "w" else "low_pass").reshape(shape.rows, shape.width)
        if what in SCALARS:
            return np.asarray(read("held_book")[SCALARS.index(what)])
        vector = read(f"held_{what}")
        return vector[:shape.rows, None] if what in PRE else vector[None, :]

    return np.asarray(as_read(form, "w" if name == "w" else "held", look)).reshape(-1)
