"""Independent references: one file per family of circuits, found by `table`."""
