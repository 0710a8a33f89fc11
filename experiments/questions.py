"""How do the maps of one volume become those of the next? Figures of the six most common mistakes.

Expected: six figures whose numbers are computed by a convolution or checked against one: the output is 7x7xn, not
3x3xn; its depth is 10-D+1 where the kernel slides along depth too; a replicated kernel cannot distinguish two images;
all 25 taps are in use; C3 has 1,516 parameters; the activation function follows the sum.
Run time on two cores: a few seconds, with or without --quick.

    python experiments/questions.py --out docs
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from drawing import ACCENT, BLUE, FAINT, INK, canvas, new_figure, outline, panel, pixels, save, sign
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from record import environment, make_folders, save_json

import cnnjax
from cnnjax.connections import LENET5_C3
from cnnjax.layers.anatomy import partial_responses

QUESTION = (__doc__ or "").partition("\n")[0]


def sizes() -> Figure:
    """A 3 x 3 kernel on 9 x 9 pixels: seven positions with stride 1, three with stride 3."""
    figure = new_figure(8.6, 2.75, "n kernels of 3 x 3 x 10 on a volume of 9 x 9 x 10, no padding")
    for axes, stride in zip(figure.subplots(1, 2), (1, 3), strict=True):
        x, w = jnp.ones((9, 9, 10)), jnp.ones((3, 3, 10, 1))
        places = cnnjax.conv2d(x, w, stride=stride).shape[0]
        canvas(
            axes, 22, 10, f"stride {stride}: (9 - 3) / {stride} + 1 = {places} positions, so {places} x {places} x n"
        )
        pixels(axes, 0, 0, 9, 9)
        pixels(axes, 13, 0, places, places, facecolor="#f3e3df")
        for colour, place in ((ACCENT, 0), (BLUE, 1), (INK, places - 1)):
            outline(axes, place * stride, 0, 3, 3, colour)
            outline(axes, 13 + place, 0, 1, 1, colour, fill=0.5)
        axes.annotate("", (12.6, 1.5), (9.4, 1.5), arrowprops={"arrowstyle": "->", "color": INK})
        axes.text(0, 9.8, "one of the ten input maps", fontsize=8, va="center")
        axes.text(13, 9.8, "one of the n output maps", fontsize=8, va="center")
    return figure


def depth() -> Figure:
    """A volume seen from the side: a kernel of full depth has one position, a sliding kernel of depth 3 has eight."""
    figure = new_figure(8.6, 2.0, "Ten maps, seen from the side")
    left, right = figure.subplots(1, 2)
    canvas(left, 22, 5.6, "2-D convolution: the kernel has the full depth\nand one position; n kernels give n maps")
    pixels(left, 0, 1, 1, 10)
    outline(left, 0, 1, 10, 1, ACCENT)
    left.annotate("", (13, 1.5), (10.3, 1.5), arrowprops={"arrowstyle": "->", "color": INK})
    pixels(left, 13.3, 1, 1, 1, facecolor="#f3e3df")
    left.text(0, 3.2, "depth: the ten input maps", fontsize=8, va="center")
    left.text(13.8, 3.2, "1 map per\nkernel", fontsize=8, va="center", ha="center")
    places = cnnjax.conv3d(jnp.ones((10, 9, 9, 1)), jnp.ones((3, 3, 3, 1, 1))).shape[0]
    canvas(right, 22, 5.6, f"3-D convolution: the kernel is 3 deep and also\nslides along depth: 10 - 3 + 1 = {places}")
    pixels(right, 0, 1, 1, 10)
    pixels(right, 13.3, 1, 1, places, facecolor="#f3e3df")
    for row, (colour, place) in enumerate(((ACCENT, 0), (BLUE, 1), (INK, places - 1))):
        outline(right, place, 1, 3, 1, colour)
        outline(right, 13.3 + place, 1, 1, 1, colour, fill=0.5)
        right.text(0, 3.2 + 1.3 * row, f"maps {place} to {place + 2}", fontsize=8, va="center", color=colour)
    right.annotate("", (13, 1.5), (10.3, 1.5), arrowprops={"arrowstyle": "->", "color": INK})
    right.text(17.3, 3.2, f"{places} positions along\ndepth per kernel", fontsize=8, va="center", ha="center")
    return figure


def two_images() -> list[np.ndarray]:
    """Two images of two maps with the same two shapes, swapped between the maps."""
    bar, cross = np.zeros((9, 9)), np.zeros((9, 9))
    bar[2:7, 2] = 1
    cross[3, 4:8] = cross[1:6, 6] = 1
    return [np.stack(maps, -1).astype(np.float32) for maps in ((bar, cross), (cross, bar))]


def replicated() -> Figure:
    """A kernel replicated over two maps, applied to two images that differ only in which map holds which shape."""
    random = np.random.default_rng(3)
    w = random.normal(size=(3, 3, 2, 1)).astype(np.float32)
    flat = np.repeat(w[:, :, :1], 2, axis=2)
    figure = new_figure(
        8.6, 3.9, "A kernel replicated over the maps only sees their sum and cannot distinguish the two images"
    )
    grid = figure.subplots(2, 5)
    outputs = [[np.asarray(cnnjax.conv2d(x, kernel))[..., 0] for kernel in (flat, w)] for x in two_images()]
    assert np.allclose(outputs[0][0], outputs[1][0], atol=1e-6)
    assert not np.allclose(outputs[0][1], outputs[1][1], atol=1e-6)
    for row, (name, x) in enumerate(zip("AB", two_images(), strict=True)):
        for column, (values, title) in enumerate(
            [
                (x[..., 0], f"image {name}, map 0"),
                (x[..., 1], f"image {name}, map 1"),
                (x.sum(-1), "sum of the maps"),
            ]
        ):
            panel(grid[row, column], values, title, grey=True)
        panel(grid[row, 3], outputs[row][0], "replicated 2-D kernel:\nequal for A and B", scale=4)
        panel(grid[row, 4], outputs[row][1], "one slice per map:\nA and B differ", scale=4)
    return figure


def taps() -> Figure:
    """Which of the 5 x 5 x 6 weights of a dense kernel affect C3 map 0."""
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(14, 14, 6)), jnp.float32)
    w = jnp.asarray(random.normal(size=(5, 5, 6, 16)), jnp.float32)
    map_0 = lambda w: jnp.sum(cnnjax.conv2d(x, w, connections=LENET5_C3)[:, :, 0] ** 2)  # noqa: E731
    used = np.asarray(jax.grad(map_0)(w)[..., 0] != 0)
    figure = new_figure(8.6, 2.05, "C3 map 0 of LeNet-5: the weights in use")
    for c, axes in enumerate(figure.subplots(1, 6)):
        count = int(used[..., c].sum())
        canvas(axes, 5, 5, f"from S2 map {c}:\n{count} of 25 taps")
        pixels(axes, 0, 0, 5, 5, facecolor=BLUE if count else "white", edgecolor="white" if count else FAINT)
        if not count:
            axes.text(2.5, 2.5, "not read", ha="center", va="center", fontsize=9, color=INK)
        assert count in (0, 25)
    return figure


def bias() -> Figure:
    """Where biases could be added, and the number of parameters of C3 in each case."""
    links, maps = LENET5_C3.num_links, LENET5_C3.c_out
    counts = {
        "no bias": (0, f"{links} x 25 = {links * 25:,}"),
        "one per output map: LeNet-5": (1, f"{links} x 25 + {maps} = {LENET5_C3.num_parameters(kernel=5):,}"),
        "one per kernel slice": (3, f"{links} x (25 + 1) = {links * 26:,}"),
    }
    figure = new_figure(8.6, 2.9, "C3, a map that reads three others: where is the bias?")
    for axes, (name, (biases, arithmetic)) in zip(figure.subplots(1, 3), counts.items(), strict=True):
        canvas(axes, 12, 9.6, name)
        for slice_ in range(3):
            _slice(axes, slice_, with_bias=biases == 3)
        axes.add_patch(Circle((8, 4.3), 0.9, facecolor="white", edgecolor=INK))
        axes.text(8, 4.3, "Σ", ha="center", va="center", fontsize=12)
        if biases == 1:
            _dot(axes, 8, 6.6)
            axes.plot([8, 8], [5.3, 6.0], color=ACCENT)
        axes.annotate("", (11.4, 4.3), (9, 4.3), arrowprops={"arrowstyle": "->", "color": INK})
        colour = ACCENT if biases == 1 else INK
        axes.text(6, 9.5, arithmetic, ha="center", va="center", fontsize=10.5, color=colour)
    return figure


def _slice(axes: Axes, number: int, with_bias: bool) -> None:
    """A slice of 25 weights, its line to the sum, and optionally a bias on the line."""
    top = 0.3 + 2.9 * number
    for row in range(5):
        for column in range(5):
            corner = (0.4 + 0.44 * column, top + 0.44 * row)
            axes.add_patch(Rectangle(corner, 0.44, 0.44, facecolor=BLUE, edgecolor="white", linewidth=0.6))
    axes.plot([2.8, 7.2], [top + 1.1, 4.3 + 0.35 * (number - 1)], color=INK, linewidth=0.8)
    if with_bias:
        _dot(axes, 4.2, top + 1.1 + 0.32 * (4.3 - top - 1.1))


def _dot(axes: Axes, x: float, y: float) -> None:
    axes.add_patch(Circle((x, y), 0.62, facecolor=ACCENT, edgecolor="none", zorder=3))
    axes.text(x, y, "b", ha="center", va="center", fontsize=9, color="white", zorder=4)


def activation() -> Figure:
    """The partial responses of three maps, with the activation function after their sum and before it."""
    random = np.random.default_rng(1)
    x = np.zeros((12, 12, 3), np.float32)
    x[2:10, 3, 0] = x[4, 2:10, 1] = 1
    x[np.arange(2, 10), np.arange(2, 10), 2] = 1
    w = random.normal(size=(5, 5, 3, 1)).astype(np.float32)
    p = np.asarray(partial_responses(x, w))[..., 0]
    rows = (
        ("contribution of each map", p, np.tanh(p.sum(-1)), "tanh of the sum:\nright", p.sum(-1)),
        ("tanh of each contribution", np.tanh(p), None, "sum of the tanh:\nnot equal", np.tanh(p).sum(-1)),
    )
    figure = new_figure(8.6, 3.7, "First the sum over the input maps, then the activation function")
    grid = figure.subplots(2, 9, width_ratios=[4, 0.7, 4, 0.7, 4, 0.7, 4, 1.4, 4])
    for line, (name, parts, activated, title, total) in zip(grid, rows, strict=True):
        scale = float(np.abs(total).max())
        for c in range(3):
            panel(line[2 * c], parts[..., c], f"map {c}" + (f"\n{name}" if c == 1 else ""), scale=scale)
            sign(line[2 * c + 1], "+" if c < 2 else "=")
        if activated is None:
            panel(line[6], total, title, scale=scale)
            sign(line[7], "")
            sign(line[8], "")
        else:
            panel(line[6], total, "sum", scale=scale)
            sign(line[7], "tanh")
            panel(line[8], activated, title)
    return figure


FIGURES = {
    "question_sizes": sizes,
    "question_depth": depth,
    "question_replicated": replicated,
    "question_taps": taps,
    "question_bias": bias,
    "question_activation": activation,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the figures; return the exit status."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--out", type=Path, default=Path("results/questions"), help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="no effect, since the script takes only seconds")
    options = parser.parse_args(arguments)
    folders = make_folders(options.out)
    save({name: draw() for name, draw in FIGURES.items()}, folders.figures)
    record = {"question": QUESTION, "environment": environment(), "seeds": "written into the script"}
    save_json(folders.records / "questions.json", record | {"figures": list(FIGURES)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
