"""What runs a circuit: the interpreter, the native loop, Lava."""
