"""Cells, rules and synapses as IR text, one a file; `compiler.ir.library` finds them."""
