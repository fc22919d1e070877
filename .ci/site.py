"""What `mkdocs build` adds to docs/: pages from the sources, figures, formulas as MathML, notebooks that were run."""

import html
import re
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from mkdocs.structure.files import File
from nbclient import NotebookClient

from cortexc.compiler.ir.codes import meanings
from cortexc.compiler.ir.library import FOLDER

ROOT = Path(__file__).parents[1]
MOVED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LIBRARY = "# Library\n\nWhat [the language](ir.md) takes by name: `cell hidden = library.lif_exp`.\n"
CODES = "# Error codes\n\n`cortexc explain-error CODE` says the same.\n\n| code | meaning | what to do |\n|---|---|---|"
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files, config):
    for name, page in MOVED.items():
        text = (ROOT / name).read_text().replace("](docs/", "](").replace("](CONTRIBUTING.md)", "](contributing.md)")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "library.md", content=library()))
    files.append(File.generated(config, "codes.md", content=codes()))
    for figure in sorted((ROOT / "benchmarks/results").glob("*.[ps][nv]g")):
        files.append(File.generated(config, f"benchmarks/results/{figure.name}", abs_src_path=str(figure)))
    for notebook in sorted((ROOT / "docs/gallery").glob("*.ipynb")):
        files.remove(files.get_file_from_path(f"gallery/{notebook.name}"))
        files.append(File.generated(config, f"gallery/{notebook.stem}.md", content=executed(notebook)))
    return files


def on_page_markdown(markdown, **_):
    """Pages of docs/ name figures by where they are in the repository; and notebooks, which become pages."""
    inside = re.sub(r"\]\(\.\./((?:\.\./)?benchmarks)", r"](\1", markdown)
    return re.sub(r"\]\((gallery/\w+)\.ipynb\)", r"](\1.md)", inside)


def on_page_content(content, **_):
    return FORMULA.sub(lambda found: formula(found[2], found[1] == "div"), content)


def formula(latex, alone):
    return convert(html.unescape(latex), display="block" if alone else "inline")


def library():
    files = sorted(FOLDER.glob("*.ir"))
    return "\n".join([LIBRARY, *(f"## `{path.stem}`\n\n```\n{path.read_text().strip()}\n```\n" for path in files)])


def codes():
    return "\n".join([CODES, *(f"| {each.code} | {each.meaning} | {each.advice} |" for each in meanings().values())])


def executed(path):
    """A notebook, run, as Markdown."""
    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    return "\n\n".join(text for cell in notebook.cells for text in shown(cell))


def shown(cell):
    if cell.cell_type != "code":
        yield cell.source
        return
    yield f"```python\n{cell.source}\n```"
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            yield f'<img alt="" src="data:image/png;base64,{data["image/png"].strip()}">'
        elif "text/html" in data:
            yield data["text/html"]
        else:
            yield f"```text\n{output.get('text') or data.get('text/plain', '')}\n```"
