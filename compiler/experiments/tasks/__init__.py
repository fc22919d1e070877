"""Tasks: one file each, with its keys, its plan and its measures."""
