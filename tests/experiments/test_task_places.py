"""A task is its own file and a line of one table: nothing else of the product names them all."""

import ast
from pathlib import Path

from cortexc.compiler.experiments.tasks.table import TASKS

ROOT = Path(__file__).parents[2]
PRODUCT = ("compiler", "cortexc", "hardware_maps", "lava_procs")
CLASSES = {struct.__name__: task for task, struct in TASKS.items()}


def named(text):
    """The tasks whose name stands in the text as a string, or whose class it imports."""
    nodes = list(ast.walk(ast.parse(text)))
    strings = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom)
                and (node.module or "").startswith("cortexc.compiler.experiments.tasks") for alias in node.names}
    return (strings & set(TASKS)) | {CLASSES[name] for name in imported & set(CLASSES)}


def test_one_file_names_every_task_and_no_other_more_than_two():
    found = {str(path.relative_to(ROOT)): named(path.read_text()) for room in PRODUCT
             for path in (ROOT / room).rglob("*.py")}
    assert {name for name, tasks in found.items() if len(tasks) > 2} == {"compiler/experiments/tasks/table.py"}
    assert found["compiler/experiments/tasks/table.py"] == set(TASKS)


def test_a_switch_over_tasks_would_be_found():
    assert named('if task == "classify" or task in ("control", "bw_only"): pass') == {"classify", "control", "bw_only"}
    assert named("from cortexc.compiler.experiments.tasks.stream import Stream") == {"stream"}


def test_the_page_says_which_files_a_task_touches():
    row = next(line for line in (ROOT / "docs/architecture.md").read_text().splitlines() if line.startswith("| a task |"))
    assert "`compiler/experiments/tasks/table.py`" in row and row.rstrip(" |").endswith("3")
