"""Names inside emitted processes: those of the circuit, apart from what Lava and the module have already."""

from __future__ import annotations

import re
from collections.abc import Collection

from cortexc.compiler.backends.lava.naming import PYTHON
from cortexc.compiler.backends.lava.ordinary.template import own_names
from cortexc.compiler.backends.quoting import fresh, identifier
from cortexc.compiler.ir.functions import ARITY

OF_LAVA = """
add_ports_for_polling advance_to_time_step compile create_runtime folded_view folded_view_inst_id id implements_process
implements_protocol in_ports is_compiled is_sub_proc_of join load log lrn_guard model model_class model_id name
on_var_update out_ports parent_proc pause phase post_guard pre_guard proc_params process_to_service procs
propagate_folded_views py_ports ref_ports register_sub_procs required_resources run run_lrn run_post_mgmt run_pre_mgmt
run_spk runtime save service_to_process start stop tags time_step validate_var_aliases var_id_to_var_map var_ports vars
wait Phase Response aliased_var
"""
OF_CIRCUITS = """arrays copy drawn fed fixed gates inside increment member populations projections parts seed self size
stream synapses w"""
LAVA = frozenset(OF_LAVA.split())
"""Attributes of Lava's processes and process models."""
TAKEN = LAVA | frozenset(OF_CIRCUITS.split()) | PYTHON | frozenset(ARITY) | own_names()
"""Names that processes, their constructors and the emitted module have of their own."""


OURS = re.compile(r"gate_.*|.*_(in|out|before|past|draws|shape)")
"""Names that are made of others."""


def attribute(name: str, taken: Collection[str] = ()) -> str:
    """The name as an attribute of processes and as a variable: nobody else's."""
    name = visible(name)
    name = f"{name}_" if OURS.fullmatch(name) else name
    return fresh(name, TAKEN | set(taken), lambda base, i: base + "_" * (i - 1))


def visible(name: str) -> str:
    """The name without an underscore in front, for which Python has another meaning in classes."""
    return identifier(f"own{name}" if name.startswith("_") else name)


def camel(word: str) -> str:
    """A class name of a word of the circuit."""
    base = "".join(part.capitalize() for part in word.split("_"))
    base = identifier(base if base[:1].isalpha() else f"Own{base}")
    return f"Own{base}" if base in TAKEN else base
