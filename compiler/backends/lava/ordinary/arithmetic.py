"""The project's own functions (`compiler.ir.functions`) as text of numpy, for arrays: the bits of every backend."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable

from cortexc.compiler.ir import functions
from cortexc.compiler.ir.functions import ARITY, DEFINITIONS, LOOPS, closure, definition

WITH_BITS = {"exponent": functions._exponent, "mantissa": functions._mantissa, "power_of_two": functions._power_of_two}
OF_NUMPY = {"sqrt", "floor"}


def functions_text(called: Iterable[str]) -> list[str]:
    """Definitions of these functions and of those that they call; others are left out."""
    wanted = closure(name for name in called if name in ARITY) - OF_NUMPY
    texts = [_of_libm(name) for name in sorted(wanted - DEFINITIONS.keys() - LOOPS.keys())]
    texts += [_of_arrays(name) for name in DEFINITIONS if name in wanted]
    texts += [_element_by_element(name) for name in LOOPS if name in wanted]
    whole = "\n".join(texts)
    return [_helper(name) for name in WITH_BITS if f"{name}(" in whole] + texts


def _of_libm(name: str) -> str:
    return f'{name} = libm("{name}", {ARITY[name]})'


def _of_arrays(name: str) -> str:
    tree = functions._Selections().visit(ast.parse(definition(name)))
    return ast.unparse(ast.fix_missing_locations(tree))


def _element_by_element(name: str) -> str:
    return f"{definition(name).strip()}\n\n\n{name} = each({name}, {ARITY[name]})"


def _helper(name: str) -> str:
    """On the bits of float64."""
    text = inspect.getsource(WITH_BITS[name]).replace(f"def _{name}", f"def {name}")
    return text.replace(": Floats", "").replace(" -> Floats", "").strip()
