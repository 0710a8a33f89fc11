"""The figures of the field guide: the volumes of a network as blocks, their costs, and which map reads which."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from drawing import ACCENT, FAINT, INK
from field_guide_facts import Reading, Stage, percentage
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.transforms import Bbox
from PIL import Image

import cnnjax

MOST_READINGS = 4
MOST_MAPS = 12
TOP = 1.0  # where the maps that are read stand above the others
SLANT = (0.34, 0.26)  # how far the back of a block is moved, in heights


def draw_network(network: cnnjax.Network, stages: Sequence[Stage], readings: Sequence[Reading]) -> Figure:
    """The volumes of a network, where its parameters and multiply-accumulates are, and which map reads which."""
    figure = Figure(figsize=(11.0, 6.4), dpi=100, facecolor="white")
    grid = figure.add_gridspec(3, 1, height_ratios=(2.5, 0.8, 1.7), hspace=0.22, left=0.02, right=0.98, top=0.99)
    colours = palette(len(stages))
    draw_volumes(figure.add_subplot(grid[0]), network, stages, colours)
    draw_costs(figure.add_subplot(grid[1]), stages, colours)
    shown = readings[:MOST_READINGS]
    columns = grid[2].subgridspec(1, MOST_READINGS, wspace=0.16)
    for i, reading in enumerate(shown):
        draw_links(figure.add_subplot(columns[i]), reading)
    return figure


def palette(count: int) -> list[str]:
    """One colour for each stage, from light to dark."""
    return [to_hex(colormaps["viridis_r"](0.08 + 0.8 * i / max(count - 1, 1))) for i in range(count)]


def draw_volumes(axes: Axes, network: cnnjax.Network, stages: Sequence[Stage], colours: Sequence[str]) -> None:
    """A block for the picture and each stage: as high as its maps and as wide as their number, on log scales."""
    height, width, maps = network.input.shape
    blocks = [(height, maps, f"{height} x {width}", f"{maps} map{'s' if maps > 1 else ''}", "#c9c4b8")]
    for stage, colour in zip(stages, colours, strict=True):
        what = f"{stage.maps:,} maps" if stage.size else f"{stage.maps:,}"
        blocks.append((stage.size[0] if stage.size else 1, stage.maps, stage.title, what, colour))
    x, top = 0.0, 0.0
    for i, (pixels, count, size, what, colour) in enumerate(blocks):
        high, wide = 0.35 + 0.3 * math.log2(pixels), 0.12 + 0.1 * math.log2(count)
        if i:
            axes.annotate(
                "", (x - 0.12, 0), (x - 0.5, 0), arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1}
            )
        draw_block(axes, x, high, wide, colour)
        middle = x + (wide + SLANT[0] * high / 2) / 2
        axes.text(
            middle, -high / 2 - 0.12, f"{size}\n{what}", ha="center", va="top", fontsize=9, color=INK, linespacing=1.35
        )
        top = max(top, high / 2 + SLANT[1] * high / 2)
        x += wide + SLANT[0] * high / 2 + 0.62
    axes.set(xlim=(-0.3, x - 0.3), ylim=(-top - 0.45, top + 0.1), aspect="equal", anchor="C")
    axes.set_axis_off()


def draw_block(axes: Axes, left: float, high: float, wide: float, colour: str) -> None:
    """A block in oblique projection: front, top and right side."""
    bottom, top = -high / 2, high / 2
    across, up = SLANT[0] * high / 2, SLANT[1] * high / 2
    right = left + wide
    faces = {
        0.0: [(left, bottom), (right, bottom), (right, top), (left, top)],
        0.35: [(left, top), (right, top), (right + across, top + up), (left + across, top + up)],
        -0.25: [(right, bottom), (right + across, bottom + up), (right + across, top + up), (right, top)],
    }
    for light, corners in faces.items():
        axes.add_patch(Polygon(corners, facecolor=shade(colour, light), edgecolor="white", linewidth=0.8))


def shade(colour: str, light: float) -> str:
    """A colour moved towards white, or towards black for a negative amount."""
    rgb: Any = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return to_hex(rgb + (1 - rgb) * light if light > 0 else rgb * (1 + light))


def draw_costs(axes: Axes, stages: Sequence[Stage], colours: Sequence[str]) -> None:
    """Two bars: how the parameters and the multiply-accumulates are spread over the stages."""
    for row, (name, counts) in enumerate(
        (
            ("parameters", [stage.num_parameters for stage in stages]),
            ("multiply-accumulates", [stage.num_macs for stage in stages]),
        )
    ):
        total, left = sum(counts), 0.0
        for stage, colour, count in zip(stages, colours, counts, strict=True):
            share = count / total
            axes.barh(-row, share, left=left, height=0.72, color=colour, edgecolor="white", linewidth=1)
            text = f"{stage.title}: {100 * share:.0f} %"
            if share > 0.0078 * len(text):
                ink = "white" if sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) < 400 else INK
                axes.text(left + share / 2, -row, text, ha="center", va="center", fontsize=8.5, color=ink)
            left += share
        axes.text(-0.008, -row, f"{in_words(total)}\n{name}", ha="right", va="center", fontsize=8.5, color=INK)
    axes.set(xlim=(-0.17, 1.0), ylim=(-1.5, 0.5))
    axes.set_axis_off()


def in_words(count: int) -> str:
    """A count with three digits: 25.6 million."""
    for unit, word in ((1e9, " billion"), (1e6, " million")):
        if count >= unit:
            return f"{count / unit:.{2 if count < 10 * unit else 1}f}{word}"
    return f"{count:,}"


def draw_links(axes: Axes, reading: Reading) -> None:
    """Some maps of the example, some that they read above, and a line for each pair that is connected."""
    inputs, outputs = shown_maps(reading)
    links = reading.table.matrix[np.ix_(inputs, outputs)]
    (above, below), chosen = links.shape, len(outputs) // 2
    for c, o in np.argwhere(links):
        style: dict[str, Any] = (
            {"color": ACCENT, "linewidth": 1.8} if o == chosen else {"color": INK, "linewidth": 0.6, "alpha": 0.35}
        )
        axes.plot([across(c, above), across(o, below)], [TOP, 0], zorder=1 + int(o == chosen), **style)
    marked = {TOP: links[:, chosen], 0.0: np.arange(below) == chosen}
    for (y, colours), count in zip(marked.items(), reading.table.matrix.shape, strict=True):
        for i, red in enumerate(colours):
            x = across(i, len(colours))
            axes.scatter(x, y, s=58, marker="s", color=ACCENT if red else INK, zorder=3, linewidth=0)
        if count > len(colours):
            axes.text(1.04, y, "...", ha="left", va="center", fontsize=11, color=INK)
    c_out = reading.table.matrix.shape[1]
    axes.set(xlim=(-0.04, 1.12), ylim=(-0.16, TOP + 0.12))
    axes.set_axis_off()
    axes.set_title(f"{reading.title}: {percentage(reading.share)}", fontsize=10.5, color=INK, fontweight="bold", pad=3)
    what = "units" if reading.title == "dense" else "maps"
    text = f"{reading.example}:\n{c_out:,} {what} read {fan_in_words(reading)}"
    axes.text(0.5, -0.2, text, ha="center", va="top", fontsize=8.5, color=INK, linespacing=1.4)


def shown_maps(reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """The first maps on both sides, or, if groups are larger than what is shown, maps from all of them."""
    shape, fan_in = reading.table.matrix.shape, max(reading.table.fan_in)
    counts = [min(count, MOST_MAPS) for count in shape]
    if MOST_MAPS < fan_in < shape[0]:
        inputs, outputs = (np.arange(n) * size // n for n, size in zip(counts, shape, strict=True))
    else:
        inputs, outputs = map(np.arange, counts)
    return inputs, outputs


def across(i: int, count: int) -> float:
    """Where a map stands in its row, from 0 to 1."""
    return i / (count - 1) if count > 1 else 0.5


def fan_in_words(reading: Reading) -> str:
    """How many maps, or values, each output map reads."""
    c_in, _ = reading.table.matrix.shape
    taps = math.prod(reading.kernel)
    fans = sorted(set(reading.table.fan_in))
    if reading.title == "dense":
        return f"all {taps * c_in:,} values"
    if fans == [c_in]:
        return f"all {c_in:,} maps" if c_in > 1 else "one map"
    if fans == [1]:
        return f"one of {c_in:,} maps each"
    return f"{fans[0]} of {c_in:,} maps each" if len(fans) == 1 else f"{fans[0]} to {fans[-1]} of {c_in:,} maps each"


def draw_overview(totals: Mapping[str, tuple[int, int]]) -> Figure:
    """Every network by its parameters and multiply-accumulates."""
    figure = Figure(figsize=(8.6, 5.2), dpi=110, facecolor="white")
    axes = figure.add_axes((0.09, 0.11, 0.89, 0.86))
    parameters, macs = np.array(list(totals.values())).T
    axes.scatter(macs, parameters, s=42, color=INK, zorder=3)
    axes.set(xscale="log", yscale="log", xlabel="multiply-accumulates for one picture", ylabel="parameters")
    axes.set(xlim=(0.7 * min(macs), 2.2 * max(macs)), ylim=(0.7 * min(parameters), 1.5 * max(parameters)))
    axes.grid(color=FAINT, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    taken = [
        Bbox.from_extents(*(point - 5), *(point + 5)) for point in axes.transData.transform(np.c_[macs, parameters])
    ]
    for name, (count, operations) in sorted(totals.items(), key=lambda each: -each[1][1]):
        taken.append(label_beside(axes, name, (operations, count), taken))
    return figure


PLACES: tuple[tuple[tuple[int, int], str, str], ...] = (
    ((8, 0), "left", "center"),
    ((-8, 0), "right", "center"),
    ((0, 8), "center", "bottom"),
    ((0, -8), "center", "top"),
    ((8, 14), "left", "center"),
    ((-8, -14), "right", "center"),
    ((8, -14), "left", "center"),
    ((-8, 14), "right", "center"),
)
"""Offsets of a label in points, with its alignments."""


def label_beside(axes: Axes, name: str, at: tuple[float, float], taken: Sequence[Bbox]) -> Bbox:
    """Write a name beside a point, where it covers nothing; return the place that it takes."""
    box = Bbox.null()
    for offset, across, up in PLACES:
        style: dict[str, Any] = {"ha": across, "va": up, "fontsize": 8.5, "color": INK}
        text = axes.annotate(name, at, xytext=offset, textcoords="offset points", **style)
        box = text.get_window_extent()
        if not any(box.overlaps(other) for other in taken):
            break
        text.remove()
    return box


def save_small(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file of 64 colours, a quarter of its size."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    Image.open(file).convert("RGB").quantize(64).save(path, optimize=True)
