"""Doors in: what makes other forms of a circuit a `Graph`. Each is a leaf that imports only the IR."""
