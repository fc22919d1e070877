"""The Lava backend: emits readable Lava code, and runs it on Lava's CPU simulator under supervision."""

from compiler.backends.lava.emit import emit, network_source
from compiler.backends.lava.run import LavaRun

__all__ = ["LavaRun", "emit", "network_source"]
