"""Kernels by name, and the operations that run them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cortexc.compiler.backends.kernels.nest import Kernel, Load, nodes, stored
from cortexc.compiler.backends.kernels.operations import Key, Operation, Slot
from cortexc.compiler.backends.quoting import identifier

CONSTANT = re.compile(r"unsigned_\d+")
"""Names of the whole numbers of a printed module."""


@dataclass
class KernelTable:
    """Equal kernels share a name, whatever their arguments are."""

    kernels: dict[str, Kernel] = field(default_factory=dict)

    def add(self, base: str, kernel: Kernel) -> str:
        """Registers a kernel under `base`, or `base_2` ... where another one has that name; returns the name."""
        name, count = identifier(base, "kernel"), 2
        while CONSTANT.fullmatch(name) or self.kernels.setdefault(name, kernel).content != kernel.content:
            name, count = f"{base}_{count}", count + 1
        return name

    def operation(self, base: str, kernel: Kernel, group: str, label: str, gate: str = "",
                  kind: str = "kernel") -> Operation:
        """Runs a kernel, which is registered; it reads and writes what the kernel's text loads and stores."""
        written, loaded = stored(kernel.body), {node.array for node in nodes(kernel.body) if isinstance(node, Load)}
        slots = {name: a.name for name, a in kernel.arguments.items() if isinstance(a, Slot | Key)}
        reads = dict.fromkeys(slot for name, slot in slots.items() if name in loaded or name not in written)
        writes = dict.fromkeys(slot for name, slot in slots.items() if name in written)
        return Operation(kind, self.add(base, kernel), tuple(kernel.arguments.values()), group, tuple(reads),
                         tuple(writes), gate, label=label)
