"""`cortexc fit`: the answer, the JSON, the page; `compile --map`: the mapping, or the coded error."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortexc.compiler.cli import main
from cortexc.compiler.ir import show_graph
from cortexc.compiler.mapping.accounting import account
from cortexc.compiler.mapping.connectivity import FixedProbability
from cortexc.compiler.mapping.fit import Fit, fit
from cortexc.compiler.mapping.items import Rates, problem_of
from cortexc.compiler.mapping.problem import Mapping
from cortexc.compiler.mapping.published import TABLE, comparison
from cortexc.compiler.report.chip import chip_drawing
from cortexc.compiler.report.fit_page import fit_page
from cortexc.compiler.report.parts import drawn as shown
from cortexc.hardware_maps import load_map, read_table, shipped_maps

sys.path.insert(0, str(Path(__file__).parent))
from mapping_circuits import chain, circuit, with_limit

NAME = "pal_yinyang"


def cortexc(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def fitted(capsys: Any, *arguments: str) -> dict[str, Any]:
    code, out, _ = cortexc(capsys, "fit", *arguments, "--json")
    assert code == 0
    return json.loads(out)


def test_json_of_one_map(capsys: Any) -> None:
    table = fitted(capsys, NAME, "--map", "loihi2")
    assert table["fits"] in ("no", "not excluded", "yes")
    assert {"fits", "cores", "violations", "unchecked", "traffic", "binding", "utilisation", "neurobench"} <= set(table)
    assert table["cores"] == len(table["utilisation"]) == 1
    assert "core.synapse_bits" in table["unchecked"] and "core.axons_in" in table["assumed"]
    assert set(table["neurobench"]["per_step"]["SynapticOperations"]) == {"Effective_MACs", "Effective_ACs", "Dense"}
    assert table["estimates"] == [], "nothing was published for Loihi 2"


def test_json_of_all_maps(capsys: Any) -> None:
    table = fitted(capsys, NAME, "--set", "model.variant=FA")
    answers = {each["map"]: each["fits"] for each in table["maps"]}
    assert set(answers) == set(shipped_maps())
    assert answers["loihi1"] == "no" and answers["loihi2"] == answers["hala_point"] == "not excluded"
    assert table["fits"] == "no", "the worst"
    assert fitted(capsys, NAME, "--map", "loihi2")["fits"] == "no", "PAL's feedback rule has no legal form"


def test_estimates_are_labelled_and_never_mixed(capsys: Any) -> None:
    first, second = fitted(capsys, NAME, "--map", "loihi1")["estimates"]
    assert (first["profile"], second["profile"]) == ("davies2018", "sanafe_nahuku")
    for each in (first, second):
        assert "estimate" in each["label"] and each["boundary"] and each["conditions"]
        assert each["energy_per_step_J"][0] <= each["energy_per_step_J"][1]
        assert not ({"DAVIES18", "SANAFE"} <= set(re.findall(r"\[([A-Z0-9]+)\]", " ".join(each["sources"]))))
    assert first["at_least"] and 0 < first["always_on_plasticity"]["share"] < 1
    assert not second["always_on_plasticity"]["priced"]


def test_connectivity_by_rule_is_never_built(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "large.ir").write_text(show_graph(chain(sources=100, cells=4_000, more=9_000, synapse="fixed",
                                                        options="")))
    (tmp_path / "large.toml").write_text('name = "large"\n[model]\ncircuit = "large.ir"\n')
    options = [str(tmp_path / "large.toml"), "--map", "hala_point", "--rule", "V=distance:0.01:2:10",
               "--rule", "F=probability:0.001"]
    table = fitted(capsys, *options)
    assert 4e5 < table["neurobench"]["ParameterCount"] < 5e6 and table["cores"] > 1
    for rule, code in (("V=distance:0.1:2:7", "M113"), ("V=probability:2", "M113"), ("U=dense", "M114"),
                       *((f"V=distance:{numbers}", "M113") for numbers in ("0.5:1:inf", "0.5:inf:1", "nan:1:1",
                                                                           "0.5:1:2.5", "0.5:1:1e300"))):
        assert code in cortexc(capsys, "fit", options[0], "--map", "ideal", "--rule", rule)[2]


SHARED = """name = "few"
title = "four small cores of loihi2"
extends = "loihi2"
[sources]
T = "me"
[core]
compartments = {value = 20, unit = "compartments", kind = "published", basis = "measured", source = "[T]"}
axons_in = {value = 300, unit = "axons", kind = "KIND", basis = "measured", source = "[T]"}
[chip]
usable_cores = {value = 4, unit = "cores", kind = "published", basis = "measured", source = "[T]"}
"""


@pytest.mark.parametrize("kind, cores, verdict", [("assumed", 3, "not excluded"), ("published", 12, "no")])
def test_an_assumed_limit_excludes_nothing(tmp_path: Path, kind: str, cores: int, verdict: str) -> None:
    """300 of 700 sources arrive at five cells: 12 cores of the 4 there are, or 3 that break the limit."""
    (tmp_path / "few.toml").write_text(SHARED.replace("KIND", kind))
    graph = circuit("population input source 700", "population A lif 60", "projection W fixed input -> A")
    found = fit(graph, load_map(str(tmp_path / "few.toml")), rules={"W": FixedProbability(700, 60, 0.105)})
    assert (found.verdict, found.mapping.cores) == (verdict, cores)
    assert {breach.limit for breach in found.breaches if not breach.excludes} == (
        {"core.axons_in"} if kind == "assumed" else set())


def test_an_assumed_limit_is_kept_where_there_are_cores(tmp_path: Path) -> None:
    (tmp_path / "few.toml").write_text(SHARED.replace("KIND", "assumed"))
    graph = circuit("population input source 700", "population A lif 15", "projection W fixed input -> A")
    found = fit(graph, load_map(str(tmp_path / "few.toml")), rules={"W": FixedProbability(700, 15, 0.105)})
    assert found.mapping.cores == 3 and not found.breaches


def test_the_table_across_maps(capsys: Any) -> None:
    code, out, _ = cortexc(capsys, "fit", NAME, "--map", "loihi1", "--map", "ideal")
    assert code == 0
    assert "M212" in out and "Davies 2021" in out and "not checked" in out and "estimate" in out
    assert re.search(r"^  loihi1 +no ", out, re.M) and re.search(r"^  ideal ", out, re.M)


class Page(HTMLParser):
    """Tags, their attributes and the text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page(capsys: Any, tmp_path: Path) -> None:
    user = tmp_path / "small.toml"
    user.write_text('name = "small"\ntitle = "small <cores>"\nextends = "loihi2"\n[sources]\nT = "me"\n[core]\n'
                    'compartments = {value = 12, unit = "compartments", kind = "assumed", source = "[T]"}\n')
    cortexc(capsys, "fit", NAME, "--set", "model.variant=FA", "--map", str(user), "--map", "loihi1", "-o",
            str(tmp_path / "out"))
    text = (tmp_path / "out" / "fit.html").read_text()
    page = Page(text)
    assert not page.open, "every tag is closed"
    assert not re.search(r"(src|href)=\"(?!#|data:)", text), "self-contained"
    cores = [a for tag, a in page.tags if tag == "rect" and str(a.get("class")).startswith("core")]
    flows = [a for tag, a in page.tags if tag == "path" and a.get("class") == "flow plastic"]
    table = json.loads((tmp_path / "out" / "fit.json").read_text())
    assert len(cores) == sum(each["cores"] for each in table["maps"]) >= 4
    assert flows and all(a["data-from"] != a["data-to"] for a in flows)
    assert len({a["class"] for a in cores}) > 1
    for words in ("not excluded", "M212", "What binds", "not checked", "estimate", "MembraneUpdates", "small <cores>"):
        assert words in page.text


@pytest.mark.parametrize("cores, chips, drawn", [(130, 2, 130), (1300, 11, 11)])
def test_several_chips_are_drawn(cores: int, chips: int, drawn: int) -> None:
    accounts = account(chain(cells=cores, more=1), load_map("hala_point"))
    cuts = [*[("A", i, i + 1) for i in range(cores)], ("B", 0, 1)]
    problem = problem_of(chain(cells=cores, more=1), accounts, cuts)
    found = Fit(chain(), accounts, problem, Mapping(np.array([*range(cores), 0])), "by hand", Rates(), 1)
    page = Page(shown(chip_drawing(found)))
    assert found.chips == chips
    nodes = [a for _, a in page.tags if str(a.get("class")).startswith("core")]
    assert len(nodes) == drawn and len({(a["x"], a["y"]) for a in nodes}) == drawn


def boxes(found: Fit) -> Page:
    """The drawing; every rectangle in it lies in the viewBox."""
    page = Page(shown(chip_drawing(found)))
    svg = next(a for tag, a in page.tags if tag == "svg")
    left, top, width, height = map(float, str(svg["viewbox"]).split())
    for tag, a in page.tags:
        if tag == "rect":
            x, y, w, h = (float(a[key] or 0) for key in ("x", "y", "width", "height"))
            assert left <= x and x + w <= left + width and top <= y and y + h <= top + height, a
    return page


@pytest.mark.parametrize("cores, chips, per_chip, drawn, missing", [
    (130, 1, 128, 130, 1), (300, 2, 128, 300, 1), (20, 1, 2, 10, 9), (20, 12, 2, 10, 0), (180, 1, 200, 180, 0)])
def test_everything_is_drawn_inside(cores: int, chips: int, per_chip: int, drawn: int, missing: int) -> None:
    """Circuits of more chips than there are, and chips of more cores than their tiles hold."""
    hardware = with_limit(with_limit(load_map("loihi1"), "system.chips", chips), "chip.usable_cores", per_chip)
    graph = chain(cells=cores, more=1, synapse="fixed", options="")
    cuts = [*[("A", i, i + 1) for i in range(cores)], ("B", 0, 1)]
    problem = problem_of(graph, account(graph, hardware), cuts)
    found = Fit(graph, account(graph, hardware), problem, Mapping(np.array([*range(cores), 0])), "by hand", Rates(), 1)
    page = boxes(found)
    nodes = [(a["x"], a["y"]) for tag, a in page.tags if str(a.get("class")).startswith("core")]
    assert len(nodes) == len(set(nodes)) == drawn
    absent = [a for tag, a in page.tags if tag == "rect" and "missing" in str(a.get("class"))]
    assert len(absent) == missing
    assert ("the system has fewer chips" in fit_page("x", [found])) == bool(missing)


def test_compile_stores_the_mapping(capsys: Any, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    wanted = ("--map", "loihi2", "--granularity", "neurocore", "-o", str(folder))
    code, _, err = cortexc(capsys, "compile", NAME, *wanted)
    assert code == 2 and "M290" in err and not folder.exists(), "PAL's feedback rule has no legal form"
    code, _, _ = cortexc(capsys, "compile", NAME, "--set", "model.variant=FA", *wanted)
    assert code == 0
    mapping = json.loads((folder / "mapping.json").read_text())
    assert {block["population"] for block in mapping["blocks"]} == {"P0", "P1", "I0"}
    assert mapping["map"] == "loihi2" and mapping["fits"] == "not excluded"
    assert "mapping.json" in json.loads((folder / "manifest.json").read_text())["files"]
    assert "class Neurocore" in (folder / "network_lava.py").read_text()


def test_compile_refuses_what_does_not_fit(capsys: Any, tmp_path: Path) -> None:
    code, _, err = cortexc(capsys, "compile", NAME, "--map", "loihi1", "-o", str(tmp_path / "code"))
    assert code == 2 and not (tmp_path / "code").exists()
    for words in ("M212", "core ", "24 bits", "limit 1", "Davies 2021"):
        assert words in err


def test_an_unknown_map(capsys: Any) -> None:
    code, _, err = cortexc(capsys, "fit", NAME, "--map", "lohi2")
    assert code == 2 and "H101" in err and "loihi2" in err


def test_published_results_are_beside_their_estimates() -> None:
    rows = comparison()
    assert {row["work"] for row in rows} == {result["work"] for result in read_table(TABLE)["results"]}
    estimated = [row for row in rows if row["profile"]]
    assert {row["network"] for row in estimated} == {"400-400-10", "1920-10"}
    for row in estimated:
        low, high = row["estimate_J"]
        assert 0 < low <= high
        assert row["measured_over_estimate_J"] == [pytest.approx(row["measured_J"] / e) for e in (high, low)]
        assert "estimate" in row["label"] and row["explained_by"] and row["boundary"]
    assert all(row["why_not"] for row in rows if not row["profile"])
