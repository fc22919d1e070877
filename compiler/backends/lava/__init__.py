"""The Lava backend: emits readable Lava code, and runs it on Lava's CPU simulator under supervision."""

from cortexc.compiler.backends.lava.emit import emit, network_source
from cortexc.compiler.backends.lava.run import LavaRun

__all__ = ["LavaRun", "emit", "network_source"]
