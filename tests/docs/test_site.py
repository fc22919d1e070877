"""The site is whole without building it: its pages, links, formulas, examples and commands are what the sources have."""

import inspect
import re
import shlex
from functools import cache
from pathlib import Path

import nbformat
import pytest
import typer
from nbclient import NotebookClient

import cortexc
from cortexc.compiler.cli.app import app
from cortexc.compiler.experiments.config import load_experiment, parse_override
from cortexc.compiler.experiments.files import shipped_experiments
from cortexc.compiler.microcircuits import CIRCUITS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
MADE = {"index.md", "contributing.md", "changelog.md", "library.md", "codes.md"}
"""By .ci/site.py."""
NOTEBOOKS = sorted((DOCS / "gallery").glob("*.ipynb"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.S | re.M)


def prose(path: Path) -> str:
    return re.sub(r"^```.*?^```$|^    [^\n]*$", "", path.read_text(), flags=re.S | re.M)


@cache
def anchors(path: Path) -> set[str]:
    """Of the headings of a page, as Markdown names them."""
    heads = [re.sub(r"[^\w\s-]", "", head).strip().lower() for head in re.findall(r"^#+ (.*)$", prose(path), re.M)]
    return {re.sub(r"[\s-]+", "-", head) for head in heads}


# ---- pages and links


def test_every_page_has_a_place():
    placed = re.findall(r"^ +- ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    there |= MADE | {f"gallery/{path.stem}.md" for path in NOTEBOOKS}
    assert sorted(placed) == sorted(there)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", re.sub(r"`[^`\n]*`", "", prose(page))):
        place = (page.parent / target).resolve() if target else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), f"{target}#{anchor}"


@pytest.mark.parametrize("name", CIRCUITS)
def test_every_circuit_has_a_page_with_equations_and_evidence(name):
    listed = re.search(rf"^\| \[.*`{name}`.*\]\((\w+\.md)", (DOCS / "circuits/index.md").read_text(), re.M)
    assert listed, f"docs/circuits/index.md lacks {name}"
    page = (DOCS / "circuits" / listed[1]).read_text()
    assert f"`{name}`" in page and "$$" in page and re.search(r"verify|pytest|bench", page)


# ---- examples


def test_every_public_name_is_described_and_used_in_an_example():
    page, examples = (DOCS / "api.md").read_text(), "\n".join(code("api.md"))
    for name in [*cortexc.__all__, "plots"]:
        assert re.search(rf"(^::: cortexc\.{name}|heading: cortexc\.{name}}})$", page, re.M), name
        assert re.search(rf"\bcx\.{name}\b", examples), f"docs/api.md has no example of cortexc.{name}"
        about = inspect.getdoc(getattr(cortexc, name))
        assert about and not about.startswith(f"{name}("), f"cortexc.{name} has no docstring"


@pytest.mark.parametrize("page", ["api.md", "coming_from.md"])
def test_the_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in code(page):
        exec(compile(block, page, "exec"), scope)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(notebook, tmp_path):
    book = nbformat.read(notebook, 4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in book.cells), "stored outputs"
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [data for cell in book.cells for output in cell.get("outputs", ()) for data in output.get("data", ())]
    assert "image/png" in shown


# ---- commands


def commands() -> list[tuple[str, str]]:
    """(page, command): lines of blocks, and what stands between backticks."""
    found = []
    for page in PAGES:
        text = re.sub(r" \\\n\s*", " ", page.read_text())
        lines = re.findall(r"^ *(cortexc [^\n]*)$", text, re.M) + re.findall(r"`(cortexc\s[^`]*)`", text)
        found += [(named(page), " ".join(line.partition("  #")[0].split())) for line in lines]
    return sorted({each for each in found if "<" not in each[1] and not each[1].startswith("cortexc EXPERIMENT")})


@pytest.mark.parametrize("page, line", commands())
def test_commands_are_ours(page, line):
    """Its options are there, and its experiment takes what it sets."""
    words = [word for word in shlex.split(line, comments=True)[1:] if word != "..."]
    if words[0].startswith("--"):
        return
    command = typer.main.get_command(app).get_command(None, words[0])
    assert command is not None, words[0]
    given = command.make_context(words[0], words[1:]).params if words[1:] else {}
    if given.get("experiment") in {*shipped_experiments(), *CIRCUITS}:
        load_experiment(given["experiment"], dict(map(parse_override, given.get("set_") or ())))
