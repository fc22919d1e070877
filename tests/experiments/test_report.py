"""What a report says follows from its numbers: other numbers, other words."""

from __future__ import annotations

import copy

import pytest
from demo_results import demo_results

from cortexc.compiler.report import demo_page as findings
from cortexc.compiler.report.demo_page import demo_page
from cortexc.compiler.report.fit_page import lead


@pytest.fixture
def results():
    return demo_results()


def runs(*ends: tuple[float, float]) -> list[dict]:
    return [{"angle": [first, (first + last) / 2, last], "epochs": [1], "accuracy": [0.5]} for first, last in ends]


@pytest.mark.parametrize("curves, words", [
    ({"PAL": runs((89, 20), (91, 25))}, "Feedback aligns in PAL"),
    ({"PAL": runs((20, 89), (25, 91))}, "Feedback turns away in PAL"),
    ({"PAL": runs((50, 50.5), (51, 51))}, "Feedback does not change in PAL"),
    ({"PAL": runs((80, 20), (20, 80))}, "Feedback does not change in PAL"),
    ({"BP": runs((0.1, 0.0))}, "Feedback is aligned throughout in BP"),
    ({"PAL": runs((89, 20)), "FA": runs((60, 85)), "BP": runs((70, 9))},
     "Feedback aligns in PAL and BP, turns away in FA"),
    ({"FA": [{"angle": []}]}, "Feedback was not measured in FA")])
def test_the_heading_over_the_angles(curves, words):
    assert findings.alignment_title(curves) == words


def test_the_angles_are_in_the_sentence():
    said = findings.alignment({"PAL": runs((89, 20), (91, 24)), "FA": [{"angle": []}]})
    assert "PAL: falls, 90.0 to 22.0 degrees; FA: was not measured." in said


def row(name: str, accuracy: float, spread: float = 0.01) -> dict:
    return {"row": name, "accuracy": accuracy, "spread": spread, "splits": [accuracy, accuracy]}


def test_the_first_row_beside_the_others():
    table = [row("ours", 0.9), row("a", 0.8), row("b", 0.95), row("c", 0.905)]
    assert findings.compared(table) == "ours is above a; below b; not told apart from c."
    assert findings.compared([row("ours", 0.5), *table[1:]]) == "ours is below a, b, c."
    assert findings.compared([row("ours", 0.9, 0.2), *table[1:]]) == "ours is not told apart from a, b, c."
    assert findings.compared([{**table[0], "splits": [0.9]}, *table[1:]]).startswith("One split has no spread")


def test_whether_it_is_the_same_circuit(results):
    entries = results["verification"]
    assert findings.sameness(entries) == f"Yes, by all {len(entries)} comparisons."
    entries[1] |= {"passed": False, "outcome": "nothing-learnt"}
    said = findings.sameness(entries)
    assert said.startswith(f"Not shown: 1 of {len(entries)}") and "nothing-learnt" in said and "Yes" not in said
    assert findings.sameness([]) == "Nothing was compared."


def test_whether_rules_are_local():
    assert findings.locality({"not_local": []}) == "with rules that are local to the synapse"
    assert "of which b is not local" in findings.locality({"not_local": ["b"]})


def test_the_page_says_the_opposite_of_opposite_numbers(results):
    page = demo_page(results)
    assert "Feedback turns away in PAL" in page and "PAL, learned feedback at 96.6%" in page and "on Lava" in page
    assert "mean of 5 splits" in page and "the same bits as" in page and "local to the synapse" in page
    other = copy.deepcopy(results)
    other["curves"] = {v: [{**c, "angle": c["angle"][::-1]} for c in curves] for v, curves in other["curves"].items()}
    other["table"][0] |= {"accuracy": 0.1, "splits": [0.1, 0.1]}
    other["run"]["backend"], other["population"]["same_bits"] = "native", False
    other["circuit"]["not_local"] = ["feedback"]
    other["verification"][0] |= {"passed": False, "outcome": "diverged", "max_abs_error": None}
    page = demo_page(other)
    assert "Feedback aligns in PAL" in page and "at 10.0%" in page and "on Lava" not in page.split("<h2>")[0]
    assert "mean of 2 splits" in page and "other bits than" in page and "feedback is not local" in page
    assert "Not shown: 1 of" in page and '<span class="badge bad">diverged</span>' in page and "not finite" in page


def test_what_the_answers_of_a_fit_rest_on():
    def table(**kinds):
        return {"title": "it", "fits": "yes", "assumed": {}, "unchecked": {}, "estimates": [], **kinds}

    assert lead([table()])[1] == "Limits are published ones, or follow from such. Every limit was checked."
    assert lead([table(fits="no"), table(fits="not excluded")])[0] == "Not excluded: it. Does not fit: it."
    said = lead([table(assumed={"core.axons": "a guess"}), table(unchecked={"tags": ""}, estimates=[{}])])[1]
    assert "assumed are core.axons." in said and "not checked: tags" in said and "estimates, never" in said
