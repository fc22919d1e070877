"""Kernels of mirrors: one per list of operations, applied to every weight in their order.

    mirror B = W : transpose truncate add:extra        x = 0.0
                                                       if j < source_post and k < source_pre:
                                                           x = m[source + ...]
                                                       x = x + m[array0 + at]
"""

from __future__ import annotations

import numpy as np

from compiler.backends.draws import noise_columns
from compiler.backends.kernels.operations import Argument, KernelTable, Operation, Slot, SlotTable, function_source
from compiler.backends.lowering.synapses import shape_of
from compiler.ir.errors import CortexError
from compiler.ir.model import Graph, Mirror, weight_shape

SIMPLE = {"negate": "x = -x", "sign": "x = 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)"}


def mirror_operation(graph: Graph, mirror: Mirror, slots: SlotTable, kernels: KernelTable) -> Operation:
    """The operation that rewrites the target's weights. Raises E504 for a second cut to other axes."""
    words = single_cut(graph, mirror)
    target, source = (shape_of(graph, graph.projection(name)) for name in (mirror.target, mirror.source))
    names: dict[str, Argument] = {
        "n_post": target.post, "n_pre": target.rows, "width": target.width, "copies": target.copies,
        "source_post": source.post, "source_pre": source.rows, "source_width": source.width,
        "source_copies": source.copies, "target": Slot(f"{mirror.target}.w"), "source": Slot(f"{mirror.source}.w")}
    arrays = array_slots(graph, mirror)
    names |= {f"array{i}": slots.add(slot, target.weights) for i, slot in enumerate(arrays)}
    if any(word.startswith("redraw:") for word in words):
        drawn = dict(noise_columns(graph))[f"{mirror.target}.redrawn"]
        names["drawn"] = slots.add(f"{mirror.target}.redrawn", drawn.stop - drawn.start)
    plain = [word.partition(":")[0] for word in words]
    text = function_source(f"target := {' '.join(plain)} of source; all pre-major.", names, _lines(plain))
    kernel = kernels.add("_".join(["mirror", *plain]), text)
    return Operation("kernel", kernel, tuple(names.values()), graph.projection(mirror.target).group,
                     (f"{mirror.source}.w",), (f"{mirror.target}.w",), mirror.gate or "", label=mirror.target)


def single_cut(graph: Graph, mirror: Mirror) -> list[str]:
    """The operations with one `truncate` at most: what has the target's shape is not cut again."""
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


def _lines(words: list[str]) -> list[str]:
    """Loops over all weights; what lies outside the source is 0 from the cut on."""
    cut = words.index("truncate") if "truncate" in words else 0
    later = _steps(words)
    row, column = ("k", "j") if words.count("transpose") % 2 else ("j", "k")
    load = [f"x = m[source + ({row} * source_width + {column}) * source_copies + from_copy]", *sum(later[:cut], [])]
    if "truncate" in words:
        load = ["x = 0.0", f"if {row} < source_pre and {column} < source_post:", *("    " + line for line in load)]
    body = ["from_copy = c if source_copies == copies else zero", *load, *sum(later[cut:], []),
            "m[target + (j * width + k) * copies + c] = x"]
    return ["for j in range(n_pre):", "    for k in range(n_post):", "        for c in range(copies):",
            *("            " + line for line in body)]


def _steps(words: list[str]) -> list[list[str]]:
    """The lines of every operation; arrays lie as the target does, draws as they were drawn."""
    result, arrays = [], 0
    for index, word in enumerate(words):
        at = f"m[array{arrays} + (j * width + k) * copies + c]"
        turned = words[index:].count("transpose") % 2
        drawn = f"math.fabs(m[drawn + (c * n_post + {'j' if turned else 'k'}) * n_pre + {'k' if turned else 'j'}])"
        lines = {"add": [f"x = x + {at}"], "times": [f"x = x * {at}"], "redraw": [f"x = x * ({at} * {drawn})"]}
        arrays += word in lines
        result.append([SIMPLE[word]] if word in SIMPLE else lines.get(word, []))
    return result


def array_slots(graph: Graph, mirror: Mirror) -> list[str]:
    """A slot for every array that a mirror uses; several mirrors may rewrite one target."""
    earlier = graph.mirrors[:graph.mirrors.index(mirror)]
    before = sum(len(_arrays(m)) for m in earlier if m.target == mirror.target)
    numbers = range(before, before + len(_arrays(mirror)))
    return [f"mirror {mirror.target}.array" + (f"#{n}" if n else "") for n in numbers]


def _arrays(mirror: Mirror) -> list[str]:
    return [word for word in mirror.operations if ":" in word]


def mirror_arrays(graph: Graph, mirror: Mirror) -> dict[str, np.ndarray]:
    """Slot -> the array, as the transpositions after it turn it, with the target's copies in front."""
    target = graph.projection(mirror.target)
    full = (shape_of(graph, target).copies, *weight_shape(graph, target))
    found = []
    for index, word in enumerate(mirror.operations):
        if ":" in word:
            array = np.broadcast_to(graph.arrays[word.partition(":")[2]], full)
            turned = mirror.operations[index:].count("transpose") % 2
            found.append(array.swapaxes(1, 2) if turned else array)
    return dict(zip(array_slots(graph, mirror), found, strict=True))
