"""From a circuit to the cores of a chip: what it needs, where it goes, what travels between."""
