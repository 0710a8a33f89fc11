"""A finished run as a self-contained HTML page."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f3b57; max-width: 60em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid #d9dee3; padding: .2em 1em .2em 0; text-align: left; vertical-align: top }
img { max-width: 100% }
"""


def write(path: Path, title: str, question: str, facts: dict[str, Any], pictures: dict[str, Figure]) -> None:
    """Write the page: a title, the question, a table of facts, and the figures, embedded."""
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(question)}</p>", table(facts)]
    for caption, figure in pictures.items():
        parts.append(f'<h2>{escape(caption)}</h2><img alt="{escape(caption)}" src="{picture(figure)}">')
    body = "\n".join(parts)
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>\n'
        f"{body}\n</html>\n",
        encoding="utf-8",
    )


def table(facts: dict[str, Any]) -> str:
    """Names and values, one pair per row."""
    rows = (f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items())
    return f"<table>{''.join(rows)}</table>"


def picture(figure: Figure) -> str:
    """A figure as a PNG data URL."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
