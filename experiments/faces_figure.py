"""The figure of faces.py: what P-Net reads and answers at one size, and the boxes that each network leaves."""

from __future__ import annotations

import numpy as np
from drawing import ACCENT, bare, new_figure
from faces_networks import SIZES
from faces_search import STRIDE, Faces, Level, edges, shrink
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle


def draw(picture: np.ndarray, faces: Faces) -> Figure:
    """What P-Net reads and answers at one size, and the boxes that each network leaves."""
    height, width = picture.shape[:2]
    figure = new_figure(15.0, 15.0 / 5 * height / width + 0.5)  # two lines of titles
    panels = figure.subplots(1, 5, subplot_kw={"box_aspect": height / width})
    level = min(faces.levels, key=lambda level: abs(np.log(level.scale * face_size(faces) / SIZES["pnet"])))
    row, column = np.unravel_index(level.probability.argmax(), level.probability.shape)
    seen = shrink(picture, *(int(n * level.scale + 1) for n in (height, width)))
    draw_at_one_size(panels[0], panels[1], seen, level, (int(row), int(column)))
    grey = 0.55 * picture.mean(axis=2)
    for axes, name, title in ((panels[2], "pnet", "P-Net, at all sizes, proposes"), (panels[3], "rnet", "R-Net keeps")):
        axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
        for box, probability in zip(faces.boxes[name], faces.probabilities[name], strict=True):
            outline_box(axes, box, to_hex(colormaps["plasma"](0.2 + 0.8 * (probability - 0.6) / 0.4)), 1.0)
        bare(axes, f"{title}\n{len(faces.boxes[name])} windows, seen as {SIZES[name]} x {SIZES[name]} pixels")
    panels[4].imshow(picture)
    for points, box, probability in zip(faces.points, faces.boxes["onet"], faces.probabilities["onet"], strict=True):
        outline_box(panels[4], box, "white", 3.6)
        outline_box(panels[4], box, ACCENT, 2.4)
        panels[4].scatter(*points.T, s=22, color="white", edgecolor=ACCENT, linewidth=1.4, zorder=3)
        label = {"facecolor": ACCENT, "linewidth": 0, "pad": 2}
        text = f"{100 * probability:.2f} %"
        panels[4].text(box[0], box[1] - 8, text, color="white", fontsize=9, va="bottom", bbox=label)
    faces_found = f"{len(faces.points)} face" + "s" * (len(faces.points) != 1)
    bare(panels[4], f"O-Net confirms {faces_found},\nwith eyes, nose and mouth")
    for axes in panels[2:]:
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    for axes in panels:
        axes.title.set_fontsize(10)
    return figure


def draw_at_one_size(left: Axes, right: Axes, seen: np.ndarray, level: Level, best: tuple[int, int]) -> None:
    """The picture at one size with the best window, and beside it the probability at each position of the window."""
    rows, columns = seen.shape[:2]
    left.imshow(seen / 255, aspect="auto")
    corner = [STRIDE * position - 0.5 for position in best]
    window = np.array([corner[1], corner[0], corner[1] + SIZES["pnet"], corner[0] + SIZES["pnet"]])
    outline_box(left, window, "white", 3.6)
    outline_box(left, window, ACCENT, 2.4)
    bare(left, f"The picture as {columns} x {rows} pixels:\nP-Net reads windows of 12 x 12")
    right.imshow(level.probability, cmap="inferno", vmin=0, vmax=1, aspect="auto")
    right.add_patch(Rectangle((best[1] - 0.5, best[0] - 0.5), 1, 1, fill=False, edgecolor=ACCENT, linewidth=2.4))
    height, width = level.probability.shape
    bare(right, f"Its convolutions judge all {width} x {height} windows\nat once: the probability of a face")


def face_size(faces: Faces) -> float:
    """The larger edge of the most probable face; of a window of P-Net on the smallest picture if there is none."""
    boxes = faces.boxes["onet"]
    return float(edges(boxes[:1]).max()) if len(boxes) else SIZES["pnet"] / faces.levels[-1].scale


def outline_box(axes: Axes, box: np.ndarray, colour: str, width: float) -> None:
    """Draw a box."""
    left, top, right, bottom = box
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=width))
