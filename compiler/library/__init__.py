"""Cells, rules and synapses as IR text, one a file; `cortexc.compiler.ir.library` finds them."""
