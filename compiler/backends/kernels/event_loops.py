"""Loops over rows of which only those do something whose cell sends: C visits these alone."""

from __future__ import annotations

from collections.abc import Iterable

from cortexc.compiler.backends.kernels.nest import For, If, Kernel, Let, Load, Statement, parts, statements
from cortexc.compiler.backends.kernels.operations import Operation, Slot, number_of
from cortexc.compiler.backends.kernels.whole import Entry, Index, Int, Size
from cortexc.compiler.ir.expressions import Binary, Name, Number

IN_C = """/* Which of n numbers are not 0, rising; returns how many. */
IN long events(const number *const x, const long n, int32_t *const places) {
    typedef whole __attribute__((may_alias)) bits;
    long count = 0, j = 0;
    for (; j + 8 <= n; j += 8) {
        whole any = 0;
        for (long i = 0; i < 8; i++) any |= ((const bits *)x)[j + i] & ~((whole)1 << (8 * sizeof(whole) - 1));
        if (any)
            for (long i = j; i < j + 8; i++)
                if (x[i] != 0.0) places[count++] = (int32_t)i;
    }
    for (; j < n; j++)
        if (x[j] != 0.0) places[count++] = (int32_t)j;
    return count;
}

/* What lies between two places into the cache, as far as it is not too much. */
IN void fetch(const void *const place, const void *const end) {
    for (const char *line = place; line < (const char *)end && line < (const char *)place + 4096; line += 64)
        __builtin_prefetch(line);
}

/* Of x below 2 n: its place in a ring of n. */
IN long wrapped(const long x, const long n) {
    return x < n ? x : x - n;
}
"""
"""What these loops call in C."""


def event_of(rows: For) -> tuple[Let, Load, If] | None:
    """Of a loop over rows of which each asks first whether a number of an array is 0, and does nothing then."""
    match rows:
        case For(index, 0, _, 1, (Let(name, Load(_, at) as load) as sent, If(condition, _, ()) as body)):
            asks = condition == Binary("!=", Name(name), Number(0.0))
            return (sent, load, body) if asks and at == index else None
    return None


def events_in(body: Iterable[Statement]) -> dict[str, Int]:
    """Arrays of which a kernel visits the numbers that are not 0, with their lengths."""
    return {event[1].array: s.stop for s in statements(body) if isinstance(s, For) and (event := event_of(s))}


def events_of(kernel: Kernel, operation: Operation) -> list[tuple[str, int]]:
    """Slots of which an operation visits the numbers that are not 0, with their lengths."""
    named = dict(zip(kernel.arguments, operation.arguments, strict=False))
    found = []
    for array, length in events_in(kernel.body).items():
        slot = named[array]
        assert isinstance(slot, Slot)
        cells = number_of(named[length.name] if isinstance(length, Size) else length)
        assert cells is not None
        found.append((slot.name, cells))
    return found


def arrays_at(load: Load, index: Index) -> list[str]:
    """Arrays and lists whose numbers at an index a place needs."""
    own = [load.array] if load.at == index else []
    return own + [part.indices for part in parts(load.at) if isinstance(part, Entry) and part.at == index]
