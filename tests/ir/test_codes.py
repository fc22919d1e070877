"""The registry of error codes: complete, and one meaning each."""
import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from cortexc.compiler.cli.app import execute
from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.codes import meaning, meanings

ROOT = Path(__file__).parents[2]
PRODUCT = ("compiler", "cortexc", "hardware_maps", "lava_procs")
CODE = re.compile(r"[BDEHMNUVX]\d{3}")
def used() -> dict[str, set[Path]]:
    """Code -> the files that raise it (not those that only compare with it)."""
    found: dict[str, set[Path]] = defaultdict(set)
    for path in (p for room in PRODUCT for p in (ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text())
        compared = {part for node in ast.walk(tree) if isinstance(node, ast.Compare) for part in node.comparators}
        for node in set(ast.walk(tree)) - compared:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                found[node.value].add(path.relative_to(ROOT))
    return found


def test_every_code_that_is_used_has_a_meaning_and_every_meaning_is_used():
    assert set(used()) == set(meanings())


def test_every_code_is_named_in_a_test():
    texts = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    assert set(meanings()) <= set(re.findall(rf"\b{CODE.pattern}\b", texts))


def test_the_table_is_in_order_and_every_meaning_is_its_own():
    lines = (ROOT / "compiler/ir/codes.txt").read_text().splitlines()
    codes = [line.split()[0] for line in lines]
    assert codes == sorted(set(codes))
    texts = [found.meaning for found in meanings().values()]
    assert len(set(texts)) == len(texts)
    for found in meanings().values():
        assert CODE.fullmatch(found.code) and found.meaning.endswith(".") and found.advice.endswith("."), found


def test_a_code_belongs_to_one_package():
    """Two packages that raise one code mean two things by it, as X161 did."""
    spread = {code: sorted(map(str, paths)) for code, paths in used().items()
              if len({path.parent for path in paths}) > 1}
    assert not spread


def test_explain_error_says_what_a_code_means(capsys):
    assert execute(["explain-error", "e231"]) == 0
    assert "E231" in (out := capsys.readouterr().out) and meaning("E231").advice in out
    assert execute(["explain-error"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{code}  " in listed for code in meanings())


def test_an_unknown_code_is_an_error_with_a_code():
    with pytest.raises(CortexError, match="X194 .*E999"):
        meaning("E999")
