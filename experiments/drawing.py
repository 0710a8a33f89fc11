"""Shared by the figures of the experiments: colours, panels of maps, grids of pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

INK, ACCENT, BLUE, FAINT = "#1f3b57", "#c8553d", "#3f7cac", "#d9dee3"
GREY, DIVERGING = "gray_r", "RdBu_r"


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """A figure on a white background, which stays readable on a dark page."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def panel(axes: Axes, values: Any, title: str = "", *, grey: bool = False, scale: float | None = None) -> None:
    """Draw one map: in grey for pixels, otherwise blue for negative, white for zero, red for positive."""
    values = np.asarray(values, float)
    scale = scale or float(np.abs(values).max()) or 1.0
    colours: dict[str, Any] = {"cmap": GREY} if grey else {"cmap": DIVERGING, "vmin": -scale, "vmax": scale}
    axes.imshow(values, **colours)
    bare(axes, title)


def bare(axes: Axes, title: str = "") -> None:
    """Remove the ticks and leave a thin frame."""
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=8.5, color=INK)
    for spine in axes.spines.values():
        spine.set(color="#8a949d", linewidth=0.6)


def sign(axes: Axes, text: str) -> None:
    """Write a sign, such as + or =, where a panel would be."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=15, color=INK, transform=axes.transAxes)


def pixels(axes: Axes, left: float, top: float, rows: int, columns: int, **style: Any) -> None:
    """Draw a grid of unit pixels with its corner at (left, top)."""
    style = {"facecolor": "white", "edgecolor": "#8a949d", "linewidth": 0.6, **style}
    for row in range(rows):
        for column in range(columns):
            axes.add_patch(Rectangle((left + column, top + row), 1, 1, **style))


def outline(axes: Axes, left: float, top: float, width: float, height: float, colour: str, fill: float = 0.15) -> None:
    """Draw a coloured frame, lightly filled."""
    axes.add_patch(Rectangle((left, top), width, height, facecolor=colour, alpha=fill, linewidth=0))
    axes.add_patch(Rectangle((left, top), width, height, facecolor="none", edgecolor=colour, linewidth=2))


def canvas(axes: Axes, width: float, height: float, title: str = "") -> None:
    """Make the axes a canvas of width x height units with its origin at the top left."""
    axes.set(xlim=(-0.2, width + 0.2), ylim=(height + 0.2, -0.2), aspect="equal")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9.5, color=INK)


def save(figures: dict[str, Figure], folder: Path) -> None:
    """Write figures as PNG files and print their names."""
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
    print(f"Written to {folder}: {', '.join(f'{name}.png' for name in figures)}")
