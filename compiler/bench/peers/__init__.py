"""Programs for other simulators' own Pythons: each reads a network as JSON and writes what it measured."""
