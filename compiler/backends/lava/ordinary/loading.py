"""Emitted circuits as modules of this process, which Lava's compiler finds again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType

from cortexc.lava_procs.importing import import_file


def load_circuit(folder: Path) -> ModuleType:
    """The module of a folder, under a name of its own."""
    path = folder / "network_lava.py"
    name = f"network_lava_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    return import_file(path, name)
