"""Nothing that is data runs as code: hostile names and texts, through every door, and past the doors to the emitters."""

from __future__ import annotations

import dataclasses
import io
import json
import tokenize
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hostile_circuits import KINDS, TEXT, circuit, setup
from safetensors.numpy import load_file, save_file

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.quoting import comment, docstring, fresh, identifier, quoted
from cortexc.compiler.cli.app import execute
from cortexc.compiler.ir import CortexError, Graph, show_graph
from cortexc.compiler.ir.expressions import Binary, Call, Lookup, Name, Number, Prev
from cortexc.compiler.passes.partition import Partition
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.runs import compiled

PAYLOADS = ['"""+str(open("PWNED","w"))+"""', "a\nopen('PWNED','w')\n", "'''+open('PWNED','w')+'''", '\\"""\\\nPWNED',
            '");PWNED();("', "x\0PWNED", "#PWNED", "\u2028PWNED()", "]};PWNED", "{PWNED}", "PWNED PWNED", "PWNED=1;x",
            "x\r\nPWNED", "\udc80PWNED", "(PWNED)", "x@PWNED", "x:PWNED", "x#\nPWNED", "%(PWNED)s", "<PWNED>"]
SPOILT = ("PWNED",)


def code_of(text: str) -> set[str]:
    """The tokens of a Python text that are neither strings nor comments."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {t.string for t in tokens if t.type not in (tokenize.STRING, tokenize.COMMENT)}


def renamed(value: Any, old: str, new: str) -> Any:
    """A graph with a name replaced wherever it stands, expressions too, past every check."""
    if isinstance(value, str):
        return ".".join(new if part == old else part for part in value.split("."))
    if isinstance(value, tuple):
        return tuple(renamed(part, old, new) for part in value)
    if isinstance(value, dict):
        return {renamed(key, old, new): part for key, part in value.items()}
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(value, **{f.name: renamed(getattr(value, f.name), old, new)  # type: ignore[type-var]
                                             for f in dataclasses.fields(value)})
    return value


def emitted(graph: Graph, granularity: str = "population") -> list[str]:
    """Every text that the emitters write for this graph as code."""
    program = lower(Partition(granularity).apply(graph))
    try:
        from cortexc.compiler.backends.lava.emit import network_source
    except ImportError:
        return [program.source]
    return [program.source, network_source(program)]


PLACES = [*KINDS, "K", "hostile", "soma", "ms", "free", "dense", "shared", "normal", "uniform", "low_pass", "clipped"]


@pytest.mark.parametrize("kind", PLACES)
def test_emitters_refuse_or_quote(kind):
    """The verifier is passed by: what an emitter writes is safe by itself."""
    refused, payloads = 0, [*PAYLOADS[:3], *PAYLOADS[3 + PLACES.index(kind) % 4::4]]
    for payload in payloads:
        graph = renamed(circuit({}), kind, payload)
        try:
            texts = emitted(graph, ("population", "area")[PLACES.index(kind) % 2])
        except (CortexError, KeyError, StopIteration) as error:
            refused += isinstance(error, CortexError)
            continue
        for text in texts:
            found = [token for token in code_of(text) if any(word in token for word in SPOILT)]
            assert found == [], (kind, payload)
            compile(text, "emitted", "exec", dont_inherit=True)
    assert refused == (len(payloads) if kind in ("source", "u", "rate", "hebb", "W", "hidden", "T", "eta") else refused)


@pytest.mark.parametrize("expression", [
    Call("open('PWNED','w').write", (Name("x"),)), Call("__import__('os').system", (Number(1.0),)), Call("exp", ()),
    Binary(" or PWNED or ", Name("x"), Name("x")), Binary("", Name("x"), Name("x")), Binary("*/", Name("x"), Name("x")),
    Binary("**", Name("x"), Name("x")), Name("x;PWNED"), Name("x, PWNED"), Prev("rate] + PWNED[0", 1),
    Lookup("T, PWNED", Name("x")), Name("x\nPWNED"), Lookup("T", Name("x), PWNED("))])
def test_expressions_built_by_hand_hold_no_code(expression):
    graph = circuit({})
    cells = tuple(dataclasses.replace(cell, equations=tuple(
        dataclasses.replace(e, expression=expression) for e in cell.equations)) if cell.name == "source" else cell
        for cell in graph.cells)
    with pytest.raises((CortexError, KeyError)):
        emitted(graph.with_(cells=cells))


def test_a_number_that_is_no_number_is_none():
    class Evil(float):
        def __repr__(self) -> str:
            return "PWNED()"

    graph = circuit({})
    rules = tuple(dataclasses.replace(rule, increment=Binary("*", Number(Evil(2.0)), Name("post.u"))) for rule in graph.rules
                  if rule.name == "plain")
    synapses = tuple(dataclasses.replace(s, limits=(Evil(-1.0), Evil(1.0))) for s in graph.synapses)
    others = tuple(rule for rule in graph.rules if rule.name != "plain")
    for text in emitted(graph.with_(rules=(*others, *rules), synapses=synapses)):
        assert not any("PWNED" in token for token in code_of(text))


@pytest.mark.parametrize("text", PAYLOADS + ['"', "\\", "\\\\", 'a"""', '"""', "ends with \\", "τ"])
def test_quotes_hold(text):
    assert eval(quoted(text)) == text
    assert "\n" not in comment(text)
    tree = compile(f"def f():\n    {docstring(text)}\n    # {comment(text)}\n", "quoted", "exec").co_consts[0]
    assert tree.co_names == () and tree.co_consts[-1] is None


@pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "ﬁ", "a" * 1001, "a.b", "a\n", None, 3])
def test_what_is_no_identifier(name):
    with pytest.raises(CortexError, match="E511"):
        identifier(name)


def test_fresh_names():
    assert fresh("a", {"b"}) == "a" and fresh("a", {"a", "a_2"}) == "a_3"


# ---- doors


EXPERIMENT = """
name = "mine"
[model]
circuit = "c.ir"
arrays = "arrays.npz"
[data.inputs]
"input.x" = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
[run]
backend = "native"
[record.r]
every = 1
quantities = ["hidden.u"]
"""


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = circuit({})
    (tmp_path / "c.ir").write_text(show_graph(graph))
    np.savez(tmp_path / "arrays.npz", **graph.arrays)
    (tmp_path / "e.toml").write_text(EXPERIMENT)
    with plain_python():
        yield tmp_path


def nothing_ran(folder, *commands: list[str]) -> list[int]:
    codes = [execute(command) for command in commands]
    assert not list(folder.rglob("*PWNED*"))
    assert all(code in (0, 1, 2) for code in codes)
    return codes


@pytest.mark.parametrize("payload", ['"""+str(open("PWNED","w"))+"""', "');open('PWNED','w');('"])
@pytest.mark.parametrize("kind", ["graph hostile", "unit", "rate", "hebb", "hidden", "W", "area=area", "@ soma", "ms"])
def test_ir_text_and_golden_files(folder, kind, payload, capsys):
    text = show_graph(circuit({}))
    words = kind.replace("hostile", payload).replace("=area", f"={payload}").replace("soma", payload)
    text = text.replace(kind, words if words != kind else payload)
    (folder / "c.ir").write_text(text)
    case = setup(circuit({}))
    found = [chunk["hidden.u"] for chunk in compiled(case, ["hidden.u"], "native")]
    arrays = {f"init_{name}": array for name, array in circuit({}).arrays.items()}
    np.savez(folder / "g.npz", **{"graph.ir": text, "input.x": case.samples, "hidden.u": np.concatenate(found)[:, 0]},
             **arrays)
    nothing_ran(folder, ["run", "e.toml", "-o", "o"], ["compile", "e.toml", "-o", "c", "--granularity", "population"],
                ["verify", "--golden", "g.npz", "--on", "native"], ["show", "e.toml"], ["explain", "e.toml"])


def test_experiments(folder, capsys):
    hostile = PAYLOADS[0]
    for old, new in (('"mine"', json.dumps(hostile)), ("[record.r]", f"[record.{json.dumps(hostile)}]"),
                     ('"hidden.u"]', f"{json.dumps('hidden.' + hostile)}]"), ('"c.ir"', json.dumps(f"{hostile}.ir")),
                     ('"native"', json.dumps(hostile)), ("input.x", f"input.{hostile}".replace('"', "'"))):
        (folder / "e.toml").write_text(EXPERIMENT.replace(old, new))
        nothing_ran(folder, ["run", "e.toml", "-o", "o", "--force"], ["compile", "e.toml", "-o", "c"])
    (folder / "e.toml").write_text(EXPERIMENT)
    for key in ("name", "model.circuit", "run.backend", "run.granularity", "passes.disable", "record.r.quantities", hostile):
        nothing_ran(folder, ["run", "e.toml", "-o", "o", "--force", "--set", f"{key}={json.dumps(hostile)}"])


def test_tables_of_numbers(folder, capsys):
    header = ",".join(['"""+str(open(""PWNED"",""w""))+"""'] * 3)
    (folder / "x.csv").write_text(f"{header}\n0.1,0.2,0.3\n")
    for given in ('"x.csv"', '"x.csv:PWNED"', '"x.npz:PWNED"'):
        (folder / "e.toml").write_text(EXPERIMENT.replace("[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]", given))
        nothing_ran(folder, ["run", "e.toml", "-o", "o", "--force"])
    np.savez(folder / "arrays.npz", **{PAYLOADS[0]: np.zeros(2)})
    (folder / "e.toml").write_text(EXPERIMENT)
    assert nothing_ran(folder, ["run", "e.toml", "-o", "o", "--force"]) == [2]
    np.save(folder / "arrays.npy", np.array([open], dtype=object), allow_pickle=True)
    assert nothing_ran(folder, ["run", "e.toml", "-o", "o", "--force", "--set", "model.arrays=arrays.npy"]) == [2]


def test_checkpoints(folder, capsys):
    assert execute(["run", "e.toml", "-o", "o", "--steps", "1"]) == 0
    path = folder / "o" / "checkpoint.safetensors"
    arrays = load_file(path)
    for key in ("graph", "experiment", "samples", "format", "sha256", "position", PAYLOADS[0]):
        save_file(arrays, path, {"format": "1", key: PAYLOADS[0]})
        assert nothing_ran(folder, ["run", "e.toml", "-o", "o", "--resume"]) == [2]


class Page(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, list]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, attrs))


def test_hardware_maps_and_pages(folder, capsys):
    payload = "<img src=x onerror=PWNED><script>PWNED</script>\"'><b PWNED=1>"
    (folder / "m.toml").write_text(f'name = "m"\ntitle = {json.dumps(payload)}\nextends = "ideal"\n')
    (folder / "e.toml").write_text(EXPERIMENT.replace('"mine"', json.dumps(payload)))
    (folder / "c.ir").write_text(show_graph(circuit({})).replace("graph hostile", "graph <img/src=x/onerror=PWNED>"))
    nothing_ran(folder, ["fit", "e.toml", "--map", "m.toml", "-o", "o"])
    page = folder / "o" / "fit.html"
    if page.exists():
        tags = Page(page.read_text()).tags
        assert not [tag for tag, _ in tags if tag == "img"] and sum(tag == "script" for tag, _ in tags) == 1
        assert not [a for _, found in tags for a in found if "pwned" in a[0] or a[0].startswith("on")]


def test_the_text_has_every_kind():
    assert all("{" + kind + "}" in TEXT for kind in KINDS)
