"""The functions of the language: how near they are to the exact ones, and what they give where nothing is exact."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import parse_graph
from cortexc.compiler.ir.functions import ARITY, FEW, SCALAR, VECTOR

EDGES = np.array([0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 5e-324, -5e-324, 2.0**-1022, -(2.0**-1022), 1e-300,
                  1.7976931348623157e308, -1.7976931348623157e308, 709.78, 709.79, -708.4, -745.13, -745.14, 0.55, -0.55,
                  0.5 * math.log(2), math.sqrt(0.5), math.sqrt(2.0), 36.8, -36.8, 19.1])
WIDE = np.finfo(np.longdouble).nmant >= 63
"""Whether numpy has a type with 11 more bits than float64."""
EXACT = {"exp": np.exp, "log": np.log, "tanh": np.tanh, "logistic": lambda x: 1 / (1 + np.exp(-x)),
         "soft_relu": lambda x: np.log1p(np.exp(x))}


def points(low: float, high: float, count: int = 100_000) -> np.ndarray:
    """Evenly spread over an interval, and as evenly over the exponents of what lies in it."""
    generator = np.random.default_rng(7)
    most = math.frexp(max(-low, high))[1]
    logarithmic = np.ldexp(generator.uniform(-1, 1, count), generator.integers(-1074, most + 1, count))
    found = np.concatenate([generator.uniform(low, high, count), logarithmic, EDGES])
    return found[(low <= found) & (found <= high)]


def units(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Differences in units of the last place of the exact number."""
    last = np.maximum(np.frexp(np.abs(exact))[1] - 53, -1074)
    return np.abs(np.ldexp(found.astype(np.longdouble) - exact, -last)).astype(float)


@pytest.mark.skipif(not WIDE, reason="numpy has no wider type here")
@pytest.mark.parametrize("name, low, high, most", [
    ("exp", -745.2, 709.78, 0.9), ("exp", -1.0, 1.0, 0.8), ("log", 0.0, 1.7e308, 0.9), ("log", 0.0, 4.0, 0.9),
    ("tanh", -30.0, 30.0, 1.6), ("tanh", -1.0, 1.0, 1.6), ("tanh", -0.54, 0.54, 0.8), ("logistic", -709.0, 40.0, 2.7),
    ("logistic", -38.0, -35.0, 2.7), ("logistic", -3.0, 3.0, 2.1)])
def test_units_of_the_last_place(name: str, low: float, high: float, most: float) -> None:
    x = points(low, high)
    x = x[x > 0] if name == "log" else x
    wrong = units(VECTOR[name](x), EXACT[name](x.astype(np.longdouble)))
    assert len(x) > 50_000
    assert wrong.max() < most, x[wrong.argmax()]


@pytest.mark.skipif(not WIDE, reason="numpy has no wider type here")
def test_soft_relu_is_near_in_absolute_terms() -> None:
    x = points(-50.0, 50.0)
    assert np.abs(VECTOR["soft_relu"](x) - EXACT["soft_relu"](x.astype(np.longdouble))).max() < 1e-14


@pytest.mark.parametrize("name, pairs", [
    ("exp", [(0.0, 1.0), (-0.0, 1.0), (math.inf, math.inf), (-math.inf, 0.0), (709.79, math.inf), (-745.14, 0.0),
             (-745.13, 5e-324)]),
    ("log", [(1.0, 0.0), (0.0, -math.inf), (-0.0, -math.inf), (math.inf, math.inf), (-1.0, math.nan), (-math.inf, math.nan),
             (5e-324, -744.4400719213812), (-5e-324, math.nan)]),
    ("tanh", [(0.0, 0.0), (-0.0, -0.0), (math.inf, 1.0), (-math.inf, -1.0), (5e-324, 5e-324), (19.1, 1.0), (1e-300, 1e-300)]),
    ("logistic", [(0.0, 0.5), (-0.0, 0.5), (math.inf, 1.0), (-math.inf, 0.0), (40.0, 1.0)])])
def test_edges(name: str, pairs: list[tuple[float, float]]) -> None:
    for x, expected in [*pairs, (math.nan, math.nan)]:
        found = SCALAR[name](x)
        assert repr(found) == repr(expected), x


def test_tanh_is_odd() -> None:
    x = points(-30.0, 30.0)
    assert (VECTOR["tanh"](-x) == -VECTOR["tanh"](x)).all()


@pytest.mark.parametrize("name, falls", [("exp", 0), ("log", 0), ("logistic", 0), ("soft_relu", 0), ("tanh", 1)])
def test_functions_rise(name: str, falls: int) -> None:
    """From one float64 to the next, near random points and where the reduction changes."""
    seams = np.log(2) * (np.arange(-60, 60) + 0.5)
    centres = np.concatenate([np.random.default_rng(3).uniform(-2, 2, 400), seams, seams / 2, [0.55, math.sqrt(0.5), 2**0.5]])
    centres = centres[centres > 0.01] if name == "log" else centres
    x = np.sort((centres.view(np.int64)[:, None] + np.arange(-100, 100)).view(np.float64), axis=1)
    y = VECTOR[name](x)
    assert (np.maximum.accumulate(y, axis=1) - y <= falls * np.spacing(np.abs(y))).all()


@pytest.mark.parametrize("name", sorted(ARITY))
def test_arrays_have_the_bits_of_single_numbers(name: str) -> None:
    generator = np.random.default_rng(11)
    columns = [np.concatenate([generator.uniform(-30, 30, 200), generator.permutation(EDGES)]) for _ in range(ARITY[name])]
    many = VECTOR[name](*columns)
    few = np.concatenate([VECTOR[name](*(c[i:i + FEW] for c in columns)) for i in range(0, len(columns[0]), FEW)])
    single = np.array([SCALAR[name](*map(float, row)) for row in zip(*columns, strict=True)])
    for found in (few, single):
        same = (many.view(np.int64) == found.view(np.int64)) | (np.isnan(many) & np.isnan(found))
        assert same.all(), [float(c[~same][0]) for c in columns]


def test_constants_take_the_shape_of_their_argument() -> None:
    assert VECTOR["d_linear"](np.zeros((5, FEW))).shape == (5, FEW)


@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.7, 12.0, 300.0, 700.0])
def test_poisson_is_the_inverse_of_its_distribution(rate: float) -> None:
    uniform = np.concatenate([np.random.default_rng(2).random(300), [0.0, 1e-12, 1 - 2**-53]])
    logs = [k * math.log(rate) - math.lgamma(k + 1) - rate if rate else (0.0 if k == 0 else -math.inf) for k in range(2000)]
    below = np.cumsum(np.exp(logs))
    counts = VECTOR["poisson"](uniform, np.full_like(uniform, rate)).astype(int)
    assert (uniform[:-1] < below[counts[:-1]] + 1e-12).all() and counts[-1] < 1500
    assert (uniform[counts > 0] > below[counts[counts > 0] - 1] - 1e-12).all()


def test_poisson_has_no_counts_of_a_negative_mean_and_no_number_beyond_its_reach() -> None:
    poisson = SCALAR["poisson"]
    assert poisson(0.99, -2.0) == 0.0 and all(math.isnan(poisson(0.5, rate)) for rate in (700.1, math.inf, math.nan))


def test_kernels_draw_the_counts_of_the_interpreter() -> None:
    text = "graph g\ncell c\n  noise u uniform\n  parameter m = 1\n  send k = poisson(u, m)\npopulation a c 600\n"
    graph = parse_graph(text).with_(arrays={"a.m": np.linspace(-1.0, 702.0, 600)})
    found = [simulate(graph, 3, record="a.k", backend=backend)["a.k"] for backend in ("interpreter", "native")]
    assert np.array_equal(*found, equal_nan=True) and np.isnan(found[0][0, 0, -1]) and np.nanmax(found[0]) > 600
