"""The runtime library of generated Lava code: group models, host, heartbeat, supervisor. Imports no Lava by itself."""
