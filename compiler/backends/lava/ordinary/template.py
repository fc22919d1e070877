"""The part of an emitted module that is the same for every circuit: imports, and pieces of files about support."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from cortexc.compiler.backends import feature_maps, runtime, uniform
from cortexc.compiler.backends.lava.ordinary.arithmetic import functions_text

SUPPORT = [Path(__file__).with_name(f"{name}.py") for name in ("support", "support_synapses")]
COPIED = {runtime: ("CHUNK", "DRAWS", "WEIGHTS", "counter_generator", "lava_numbers", "mix64", "step_keys"),
          uniform: ("BITS", "MASK", "uniform"),
          feature_maps: ("forward", "patches", "pooled", "positions", "transposed")}
"""How noise is drawn and what feature maps are, of the files in which that is defined."""
NOT_INSIDE = frozenset({"implements", "requires", "tag"})
"""Names that no constructor and no model reads."""
IMPORTS = """import math
from functools import reduce
from pathlib import Path

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyInPortVectorDense, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from numpy import floor, inf, logical_and, logical_or, sqrt, where

try:
    import cortexc.lava_procs.continuing  # run after a pause and after a stop, which Lava 0.10 alone cannot
except ImportError:
    pass"""


STOCK_IMPORTS = """import lava.proc.dense.process as stock
from lava.magma.core.learning.constants import GradedSpikeCfg
from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
from lava.utils.weightutils import SignMode"""
STOCK_LISTS = """import lava.proc.sparse.process as stock_sparse
from scipy.sparse import csr_matrix"""


@functools.cache
def pieces() -> dict[str, str]:
    """Functions, classes and constants that may be copied, by name."""
    found = {name: text for path in SUPPORT for name, text in _pieces_of(path).items()}
    for module, names in COPIED.items():
        others = _pieces_of(Path(str(module.__file__)))
        found |= {name: others[name] for name in names}
    return found


def _pieces_of(path: Path) -> dict[str, str]:
    text, found = path.read_text(encoding="utf-8"), {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = _plain(node, ast.get_source_segment(text, node) or "")
        elif isinstance(node, ast.ClassDef):
            found[node.name] = ast.get_source_segment(text, node) or ""
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.get_source_segment(text, node) or ""
    return found


def _plain(node: ast.FunctionDef, text: str) -> str:
    """The function without types."""
    if node.returns is None:
        return text
    node.returns = None
    for argument in node.args.args:
        argument.annotation = None
    return ast.unparse(node)


def support_text(own: str, called: set[str]) -> list[str]:
    """Pieces that these texts use, and what those use."""
    found_pieces, functions, wanted = pieces(), functions_text(called), set[str]()
    waiting = ["\n".join([own, *functions])]
    while waiting:
        found = {node.id for node in ast.walk(ast.parse(waiting.pop())) if isinstance(node, ast.Name)}
        waiting += [found_pieces[name] for name in (found & found_pieces.keys()) - wanted]
        wanted |= found & found_pieces.keys()
    return [text for name, text in found_pieces.items() if name in wanted] + functions


@functools.cache
def own_names() -> frozenset[str]:
    """What the module has besides the circuit's names."""
    lines = "\n".join((IMPORTS, STOCK_IMPORTS, STOCK_LISTS))
    imported = {alias.asname or alias.name for node in ast.walk(ast.parse(lines))
                if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
    return frozenset({*imported, *pieces(), "Circuit", "CircuitModel", "build", "dt", "seeds", "samples"}) - NOT_INSIDE
