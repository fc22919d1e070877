"""What HTML pages are made of. They are self-contained; pictures are inline. X220: matplotlib is not there."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cortexc.compiler.ir.errors import CortexError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.3em .8em;border-bottom:1px solid #ddd;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%}pre{background:#f6f6f6;padding:1em;
overflow:auto;font-size:12px}.good{color:#17632f}.bad{color:#a11}"""


def page(title: str, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>\n{body}\n"


def said(sentence: str) -> str:
    return f"<p>{html.escape(sentence)}</p>"


def picture(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def new_figure(width: float, height: float, layout: Any = None) -> Figure:
    """An empty figure, in inches. Raises X220."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise CortexError("X220", "figures need matplotlib, which is not installed.",
                          "pip install 'cortexc[plots]'.") from None
    return Figure(figsize=(width, height), layout=layout)


def axes(title: str, x: str, y: str, height: float = 3.4) -> tuple[Figure, Any]:
    """(figure, axes) to draw on."""
    figure = new_figure(7, height)
    drawn = figure.subplots()
    drawn.set(title=title, xlabel=x, ylabel=y)
    drawn.spines[["top", "right"]].set_visible(False)
    return figure, drawn
