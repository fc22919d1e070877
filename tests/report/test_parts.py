"""Pages as data: what is escaped, what a chart and a matrix are made of, what is said of them."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from cortexc.compiler.experiments.spikes import Observed
from cortexc.compiler.ir import parse_graph
from cortexc.compiler.report import charts
from cortexc.compiler.report.charts import Line, histograms, line_chart, ticks
from cortexc.compiler.report.drawing import circuit_drawing, circuit_parts
from cortexc.compiler.report.parts import (
    Cell,
    Code,
    Facts,
    Listing,
    Matrix,
    Page,
    Picture,
    Section,
    Table,
    Text,
    drawn,
    png,
    rendered,
)
from cortexc.compiler.report.run_page import Recorded, images, most_confused, run_page
from cortexc.compiler.report.sweep_page import sweep_page

HOSTILE = ["</script><script>PWNED()</script>", "\"><img src=x onerror=PWNED()>", "' onfocus=PWNED() autofocus x='", "{{ PWNED }}",
           "{% raw %}", "</title></style><svg onload=PWNED()>", "javascript:PWNED()", "--><b>PWNED", "\u2028\0PWNED()"]
SPIKES = {"spikes/E.spike.step": np.array([1, 2, 7]), "spikes/E.spike.cell": np.array([0, 1, 0]),
          "spikes/E.spike.element": np.zeros(3, int), "traces/E.v": np.zeros((9, 1, 2)), "traces/E.v.step": np.arange(9)}
GRAPH = parse_graph("""graph two
cell leaky
  input value
  port basal
  port apical
  state v = 0
  receive v = basal + apical + value
  message v
synapse plain
  message v
  port basal
population E leaky 2
projection W plain E -> E
""")


class Tags(HTMLParser):
    """Tags, names of attributes and text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def results(text: str) -> dict[str, Any]:
    return {"name": text, "circuit": text, "data": text, "backend": text, "granularity": text, "completed": False, "finite": True,
            "graph_sha256": text, "experiment_sha256": text, "steps": 9, "total_steps": 10, "steps_per_second": 1.0, "wall_s": 1.0,
            "seconds": {text: 1.0}, "test_accuracy": 0.5, "seeds": [{"seed": 1, "test_accuracy": 0.5, "weights_sha256": text}],
            "tests": [{"epoch": e, "step": e, "accuracy": [e / 4]} for e in (1, 2)], "validations": [], "machine": {text: text},
            "confusion": [[[3, 1], [2, 2]]], "classes": [text, "b"], "spikes": {text: {"rate": [1.0], "irregularity": [None], "correlation": [None]}}}


def everything(text: str) -> list[str]:
    """Pages that have this text wherever a name or a text can stand."""
    circuit = {"name": text, "populations": [{"name": text, "cell": text, "size": 2, "area": text, "compartments": [text, "apical"]}],
               "projections": [{"name": text, "pre": text, "post": text, "synapse": text, "message": text, "compartment": text,
                                "kind": text, "plastic": True}]}
    drawing = circuit_drawing(circuit)
    parts = [Text(text), Text(text, "heading"), Code(text, text), Facts([(text, text, text)]), Listing([(text, text, text)]),
             Table(text, (text,), [[Cell(text, note=text)], [Cell(text, mark="bad")], [Cell(text, href=text)]], text),
             Matrix(text, [text], np.ones((1, 1))), Picture(text, text, np.zeros((2, 2))), drawing,
             line_chart(text, text, text, [Line(text, np.arange(3), np.ones((3, 2)))], (text, 1.0), text),
             charts.rows_chart(text, text, (0, 1), [(text, 0, "spikes", np.zeros(1), np.zeros(1))], text, text)]
    page = rendered(Page(text, text, (text, text), None, [Section(text, parts, text, (text, "bad"))]))
    taken = {key.replace("E", text): value for key, value in SPIKES.items()}
    recorded = Recorded(taken, {f"a/angle {text} {text}": np.ones((2, 1))}, lambda name: np.zeros((1, 2, 2)),
                        Observed(1.0, 0, {text: 2}, 1))
    rows = [{text: 1, "mean": 0.5, "spread": 0.1, "runs": 1, "failed": 0}]
    sweep = sweep_page(text, [{text: 1, "seed": text, "test_accuracy": 0.5, "folder": text, "error": text}], rows, [text])
    return [page, drawn(drawing), run_page(results(text), GRAPH, recorded), sweep]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_code(text: str) -> None:
    for page, harmless in zip(everything(text), everything("harmless"), strict=True):
        found, wanted = Tags(page), Tags(harmless)
        assert found.tags == wanted.tags
        assert {name for name, _ in found.attributes} == {name for name, _ in wanted.attributes}
        assert not [value for name, value in found.attributes if name in ("href", "src") and not str(value).startswith(("#", "data:"))]
        assert text.replace("\0", "\N{REPLACEMENT CHARACTER}") in found.text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def points(path: str) -> np.ndarray:
    return np.array([[float(value) for value in pair.split()] for pair in path.strip("MZ").split("L")])


def test_a_line_is_the_mean_and_its_band_the_spread() -> None:
    values = np.array([[1.0, 3.0], [4.0, 4.0], [np.nan, 9.0]])
    chart = line_chart("t", "x", "y", [Line("a", np.array([0, 5, 10]), values)], up=(0.0, 10.0))
    assert chart is not None
    band, line, dots = chart.series
    assert dots.path == "M0 800h0M500 600h0M1000 100h0"
    assert points(line.path).tolist() == [[0, 800], [500, 600], [1000, 100]]
    assert points(band.path)[[0, 5]].tolist() == [[0, 700], [0, 900]], "one standard deviation to both sides"
    assert "a: 2 at 0, 9 at 10, between 2 and 9" in chart.said and chart.whole


def test_long_lines_are_means_over_bins() -> None:
    line = charts.thinned(Line("a", np.arange(1000), np.arange(1000)[:, None] * [1.0, 2.0]))
    assert len(line.places) == 334 and line.values[0].tolist() == [1.0, 2.0] and line.values[-1].tolist() == [999.0, 1998.0]


def test_a_histogram_is_a_density() -> None:
    chart = histograms("t", "x", {"a": np.array([0.0, 1.0, np.nan, 4.0]), "none": np.zeros(0)})
    assert chart is not None and [series.name for series in chart.series] == ["a"]
    heights = (1000 - points(chart.series[0].path)[::2, 1]) / 1000 * chart.up[1]
    assert (heights * 0.1).sum() == pytest.approx(1.0, abs=1e-3) and (heights > 0).sum() == 3
    assert histograms("t", "x", {"none": np.full(3, np.nan)}) is None


@pytest.mark.parametrize(("between", "whole", "labels"), [
    ((0.0, 1.0), False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]), ((1.0, 3.0), True, ["1", "2", "3"]),
    ((-0.02, 0.031), False, ["-0.02", "-0.01", "0", "0.01", "0.02", "0.03"]), ((0.0, 12_000.0), False, ["0", "2,000", "4,000", "6,000", "8,000", "10,000", "12,000"])])
def test_ticks_are_round(between: tuple[float, float], whole: bool, labels: list[str]) -> None:
    found = ticks(between, whole)
    assert [label for _, label in found] == labels and all(0 <= share <= 1 for share, _ in found)


def test_the_most_frequent_mistake() -> None:
    counts = np.array([[5, 1, 0], [0, 6, 0], [3, 0, 2]])
    assert most_confused(counts, "abc") == \
        "4 of 17 answers are wrong. The most frequent mistake: c is taken for a, 3 times of 5."
    assert most_confused(np.diag([2, 3]), "ab") == "All 5 answers are right."


def test_circuits_are_drawn_with_their_compartments() -> None:
    drawing = circuit_drawing(circuit_parts(GRAPH))
    assert drawing is not None
    texts = [shape.text for shape in drawing.shapes if shape.tag == "text"]
    assert sorted(texts[:2]) == ["apical", "basal"] and texts[2:] == ["E", "2 cells"]
    boxes = {shape.attributes["class"]: float(shape.attributes["y"]) for shape in drawing.shapes if shape.tag == "rect"}
    assert boxes["part apical"] < boxes["soma"] < boxes["part basal"]
    (flow,) = [shape for shape in drawing.shapes if "flow" in shape.attributes["class"]]
    assert flow.told == "W: v of E to basal of E, dense, fixed"
    many = {"name": "m", "populations": [{"name": str(i)} for i in range(99)], "projections": []}
    assert circuit_drawing(many) is None


def test_pictures_are_images_of_weights() -> None:
    pillow = pytest.importorskip("PIL.Image")
    weights = np.array([[1.0, -2.0, 0.0, np.nan], [2.0, 0.0, 0.0, 0.0]])
    picture = images("W", weights, [1, 0])
    found = np.asarray(pillow.open(io.BytesIO(png(picture.pixels))).convert("RGB"))
    assert found.shape == (2, 5, 3) and "an image of 2 by 2 per cell, in the order of their labels" in picture.label
    red, blue, white, gap = found[0, 0], found[0, 4], found[1, 0], found[0, 2]
    assert red[0] > 170 > 50 > red[1] and blue[2] > 170 > 50 > blue[0] and (white == 255).all() and (gap == 222).all()
    assert (found[1, 4] == 222).all(), "what is not finite has no colour"
