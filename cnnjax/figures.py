"""Figures of a network: connection tables, kernels, feature maps, learning curves, hard cases.

Every function returns a `matplotlib.figure.Figure` and changes no global state; save it with `figure.savefig(path)`.
Weights and maps are drawn on a symmetric colour scale for each panel: blue negative, white zero, red positive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax.connections import ConnectionTable
from cnnjax.errors import MissingExtraError
from cnnjax.layers import RBF, Network, Params
from cnnjax.layers.anatomy import find_convolution
from cnnjax.layers.summary import format_size

try:
    from matplotlib.axes import Axes
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
except ImportError as error:  # pragma: no cover - the tests install matplotlib
    raise MissingExtraError(
        "cnnjax.figures needs matplotlib; install it with: pip install 'cnnjax[experiments]'"
    ) from error

__all__ = ["connection_table", "feature_maps", "hard_cases", "kernels", "learning_curve"]

_DIVERGING = "RdBu_r"
_INK = "#1f3b57"
_ACCENT = "#c8553d"
_FAINT = "#d9dee3"
_FRAME = "#8a949d"


def connection_table(table: ConnectionTable, inputs: str = "input map", outputs: str = "output map") -> Figure:
    """Draw a connection table: a row for each input map, a column for each output map, a filled cell for each link.

    The margins count the links: how many output maps an input map feeds, how many input maps an output map reads.

    Args:
        table: which input map feeds which output map.
        inputs: the label of the rows.
        outputs: the label of the columns.

    Raises:
        ArgumentTypeError: for anything but a `ConnectionTable`.

    Example:
        >>> from cnnjax.connections import LENET5_C3
        >>> figure = connection_table(LENET5_C3, "S2 map", "C3 map")

    Source: the layout of LeCun et al. 1998, Table I.
    """
    if not isinstance(table, ConnectionTable):
        fix = "pass for example cnnjax.connections.LENET5_C3"
        raise type_error("connection_table", "table", got=describe(table), expected="a ConnectionTable", fix=fix)
    rows, columns = table.matrix.shape
    figure = _figure(max(4.0, 0.42 * columns + 2), max(2.6, 0.42 * rows + 1.5))
    axes = figure.add_subplot()
    axes.imshow(np.where(table.matrix, 1.0, 0.0), cmap=ListedColormap([_FAINT, _INK]), vmin=0, vmax=1)
    axes.set_xticks(range(columns), [f"{o}" for o in range(columns)])
    axes.set_yticks(range(rows), [f"{c}" for c in range(rows)])
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    for c, fed in enumerate(table.fan_out):
        axes.text(columns - 0.35, c, f"feeds {fed}", va="center", fontsize=8, color=_INK)
    for o, read in enumerate(table.fan_in):
        axes.text(o, -0.62, f"{read}", ha="center", va="bottom", fontsize=8, color=_INK)
    axes.text(-0.62, -0.62, "reads", ha="right", va="bottom", fontsize=8, color=_INK)
    axes.set_xlabel(outputs)
    axes.set_ylabel(inputs)
    axes.set_title(f"{table.num_links} of {table.matrix.size} links", pad=20)
    axes.spines[:].set_visible(False)
    return figure


def kernels(network: Network, params: Mapping[str, Params], layer: str) -> Figure:
    """Draw the two-dimensional slices of a convolution's kernels: one row per input map, one column per output map.

    Output maps that read the same number of input maps are grouped. Pairs that are not connected have no slice. Of a
    wide layer the first 32 input maps and 128 output maps are drawn.

    Args:
        network: the network, with a `Conv2D` named `layer`.
        params: its parameters.
        layer: the name of the layer.

    Raises:
        ValueError, TypeError: when the network has no convolution of that name, or for parameters of another network.

    Example:
        >>> import jax, cnnjax
        >>> network = cnnjax.models.lenet5()
        >>> figure = kernels(network, network.init(jax.random.key(0)), "c3")
    """
    convolution = find_convolution("kernels", network, layer)
    network.check_params(params, "kernels")
    shape = network.input_shapes()[layer]
    table = convolution.table(shape)
    weights = np.asarray(convolution.dense_weights(params[layer], shape), float)
    c_in, c_out = (min(count, most) for count, most in zip(weights.shape[2:], (32, 128), strict=True))
    scale = np.abs(weights).max() or 1.0
    source = network.input_names()[layer]
    source = source if source == "input" else _heading(source)

    order = sorted(range(c_out), key=lambda o: table.fan_in[o])
    blocks = [list(block) for _, block in groupby(order, key=lambda o: table.fan_in[o])]
    cell, gap, left, top = min(0.52, 16 / c_out), 0.2, 0.85, 1.0
    width = left + cell * c_out + gap * (len(blocks) - 1) + 0.2
    figure = _figure(max(4.6, width), top + cell * c_in + 0.35, constrained=False)
    _title(figure, f"{layer.upper()}: one {format_size(weights.shape[:2])} slice for each connected pair of maps")
    x = left
    for block in blocks:
        fan = table.fan_in[block[0]]
        _write(figure, x + cell * len(block) / 2, top - 0.3, f"read {fan} map" + "s" * (fan != 1))
        axes = _place(figure, x, top, cell * len(block), cell * c_in)
        axes.set_axis_off()
        frames: list[Rectangle] = []
        for i, o in enumerate(block):
            _write(figure, x + cell * (i + 0.5), top - 0.08, f"{o}", size=min(8, 20 * cell), color=_INK)
            for c in (c for c in table.rows[o] if c < c_in):
                place = (i + 0.04, i + 0.96, c + 0.96, c + 0.04)
                axes.imshow(weights[:, :, c, o], cmap=_DIVERGING, vmin=-scale, vmax=scale, extent=place)
                frames.append(Rectangle((i + 0.04, c + 0.04), 0.92, 0.92))
        axes.add_collection(PatchCollection(frames, facecolor="none", edgecolor=_FRAME, linewidth=0.6))
        axes.set(xlim=(0, len(block)), ylim=(c_in, 0), aspect="auto")
        x += cell * len(block) + gap
    for c in range(c_in):
        _write(figure, left - 0.12, top + (c + 0.58) * cell, f"{source} {c}", ha="right")
    _write(figure, left, top + c_in * cell + 0.22, f"blue -{scale:.2f}, white 0, red +{scale:.2f}", ha="left")
    return figure


def feature_maps(
    network: Network,
    params: Mapping[str, Params],
    image: ArrayLike,
    label: int | None = None,
    volumes: Sequence[str] | None = None,
) -> Figure:
    """Draw the volumes of a network for one image, one row for each volume, and at most 64 maps of each.

    Maps of one pixel, and vectors, are drawn as a strip. The 84 values that LeNet-5's RBF units read are drawn as a
    bitmap, next to the code of the predicted class.

    Args:
        network: the network.
        params: its parameters.
        image: one image, prepared (H, W, C), or uint8 (h, w) or (h, w, C).
        label: the true class, for the title.
        volumes: the names of the volumes to draw; by default all, or, of a network with more than twelve layers, the
            last volume of each size.

    Raises:
        ValueError, TypeError: as `Network.apply`, and for a volume that the network does not have.

    Example:
        >>> import jax, cnnjax
        >>> network = cnnjax.models.lenet5()
        >>> figure = feature_maps(network, network.init(jax.random.key(0)), np.zeros((28, 28), np.uint8))
    """
    if getattr(image, "dtype", None) == np.uint8:
        image = network.input.prepare(np.asarray(image)[None])[0]
    shown = _drawn_volumes(network, volumes)
    found = {name: np.asarray(volume, float) for name, volume in network.volumes(params, image).items()}
    winner = int(network.classify(params, image))
    layers, read_by = dict(network.layers), {read: layer for layer, read in network.input_names().items()}
    codes = {read: layer.codes for read, name in read_by.items() if isinstance(layer := layers[name], RBF)}
    bitmaps = {name: code[winner] for name, code in codes.items() if found[name].size == _BITMAP[0] * _BITMAP[1]}
    rows = {name: 1.35 if name in bitmaps else _rows_of_maps(found[name]) * 0.68 for name in shown}
    figure = _figure(10.6, 0.75 + sum(rows.values()), constrained=False)
    right = "" if label is None else f", right class {label}"
    what = "every volume" if len(shown) == len(found) else "volumes"
    _title(figure, f"{network.name}: {what} for one image. Classified as {winner}{right}")
    top = 0.7
    for name in shown:
        volume = found[name]
        size = f"{volume.shape[-1]}" + (f" @ {format_size(volume.shape[:-1])}" if volume.ndim == 3 else " units")
        _write(figure, 0.15, top + 0.3, f"{_heading(name)}\n{size}", ha="left", va="center", size=9, color=_INK)
        if name in bitmaps:
            _draw_bitmaps(figure, top, volume, np.array(bitmaps[name]), winner)
        elif volume.ndim == 3 and volume.shape[:2] != (1, 1):
            _draw_maps(figure, top, volume, grey=name == "input")
        elif name == network.layers[-1][0]:
            _draw_scores(figure, top, volume.ravel(), winner, distances=network.smallest_wins)
        else:
            _draw_strip(figure, top, volume.ravel())
        top += rows[name]
    return figure


def learning_curve(history: Sequence[Mapping[str, float]], title: str = "Learning curve") -> Figure:
    """Draw loss and error rate against the epoch.

    Args:
        history: one mapping for each epoch with "epoch", "loss", "train_error" and "test_error" (in %).
        title: the title of the figure.

    Raises:
        ValueError: for an empty history.

    Example:
        >>> figure = learning_curve([{"epoch": 1, "loss": 2.0, "train_error": 9.0, "test_error": 5.0}])
    """
    if not history:
        raise value_error("learning_curve", "history", got="empty", expected="at least one epoch", fix="train first")
    epochs = [entry["epoch"] for entry in history]
    figure = _figure(8.4, 3.4)
    figure.suptitle(title)
    loss_axes, error_axes = figure.subplots(1, 2)
    loss_axes.plot(epochs, [entry["loss"] for entry in history], color=_INK, marker="o", markersize=3)
    loss_axes.set(xlabel="epoch", ylabel="training loss (mean over the epoch)")
    for key, colour, name in (
        ("train_error", _INK, "training, while the weights change"),
        ("test_error", _ACCENT, "test"),
    ):
        error_axes.plot(epochs, [entry[key] for entry in history], color=colour, marker="o", markersize=3, label=name)
    error_axes.set(xlabel="epoch", ylabel="error rate (%)")
    last = history[-1]
    error_axes.annotate(
        f"{last['test_error']:.2f} %",
        (last["epoch"], last["test_error"]),
        textcoords="offset points",
        xytext=(6, -3),
        color=_ACCENT,
    )
    error_axes.legend(frameon=False)
    for axes in (loss_axes, error_axes):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=_FAINT, linewidth=0.6)
        axes.set_xlim(0, 1.16 * last["epoch"])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if all(value > 0 for line in axes.lines for value in line.get_ydata()):  # an error rate may reach 0
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
    return figure


def hard_cases(
    network: Network,
    params: Mapping[str, Params],
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Draw the 24 images with the smallest margin between the true class and the best other class::

        lead[n] = score[n, labels[n]] - max_(i != labels[n]) score[n, i]

    where the score is the negative distance if the smallest output names the class.

    Args:
        network: the network.
        params: its parameters.
        images: uint8 (N, h, w), or (N, h, w, 3) in colour.
        labels: the true classes (N,).
        class_names: the names of the classes; their numbers by default.

    Raises:
        ValueError, TypeError: as `Network.apply`.

    Example:
        >>> import jax, cnnjax
        >>> network = cnnjax.models.lenet5()
        >>> images, labels = np.zeros((3, 28, 28), np.uint8), np.array([0, 1, 2])
        >>> figure = hard_cases(network, network.init(jax.random.key(0)), images, labels)
    """
    scores = np.asarray(network.apply(params, network.input.prepare(images)), float)
    scores = -scores if network.smallest_wins else scores
    rows = np.arange(len(labels))
    right = scores[rows, labels]
    rivals = scores.copy()
    rivals[rows, labels] = -np.inf
    lead = right - rivals.max(axis=1)
    shown = np.argsort(lead, kind="stable")[:24]
    columns = min(8, len(shown))
    name_of = str if class_names is None else class_names.__getitem__
    figure = _figure(9.0, 1.45 * -(-len(shown) // columns) + 0.6)
    wrong = int((lead < 0).sum())
    figure.suptitle(
        f"{network.name}: the hardest of {len(labels):,} images ({wrong} misclassified, in red).\n"
        "lead: the score of the true class minus the best other score",
        fontsize=11,
    )
    grid = np.ravel(figure.subplots(-(-len(shown) // columns), columns, squeeze=False))
    for axes in grid:
        axes.set_axis_off()
    for axes, i in zip(grid, shown, strict=False):
        axes.imshow(images[i], cmap="gray_r")
        lost = lead[i] < 0
        right, rival = (name_of(int(c)) for c in (labels[i], rivals[i].argmax()))
        verdict = f"{right} taken for {rival}" if lost else f"{right}, not {rival}"
        axes.set_title(f"{verdict}\nlead {lead[i]:+.1f}", fontsize=8, color=_ACCENT if lost else _INK)
    return figure


def _figure(width: float, height: float, constrained: bool = True) -> Figure:
    return Figure(figsize=(width, height), dpi=150, layout="constrained" if constrained else None)


_LEFT, _TILE, _COLUMNS, _MOST_MAPS = 1.25, 0.56, 16, 64
_BITMAP = (12, 7)


def _drawn_volumes(network: Network, names: Sequence[str] | None) -> list[str]:
    """Return the volumes to draw: those named, or all, or of a deep network the last of each size."""
    shapes = network.shapes()
    if names is None:
        last = {shape[:-1]: name for name, shape in shapes.items()}
        return list(shapes) if len(network.layers) <= 12 else list(dict.fromkeys(["input", *last.values()]))
    unknown = [name for name in names if name not in shapes]
    if unknown:
        expected = "names of volumes, as in network.shapes()"
        raise value_error("feature_maps", "volumes", got=f"with {unknown[0]!r}", expected=expected, fix="name others")
    return list(names)


def _heading(name: str) -> str:
    return name.upper() if len(name) <= 10 else f"...{name[-9:]}"


def _rows_of_maps(volume: np.ndarray) -> int:
    return -(-min(volume.shape[-1], _MOST_MAPS) // _COLUMNS) if volume.ndim == 3 and volume.shape[:2] != (1, 1) else 1


def _draw_maps(figure: Figure, top: float, volume: np.ndarray, *, grey: bool) -> None:
    scale = np.abs(volume).max() or 1.0
    colours: dict[str, Any] = {"cmap": "gray_r"} if grey else {"cmap": _DIVERGING, "vmin": -scale, "vmax": scale}
    for o in range(min(volume.shape[-1], _MOST_MAPS)):
        row, column = divmod(o, _COLUMNS)
        axes = _place(figure, _LEFT + column * (_TILE + 0.02), top + row * 0.68 + 0.04, _TILE, _TILE)
        axes.imshow(volume[:, :, o], **colours)


def _draw_strip(figure: Figure, top: float, values: np.ndarray) -> None:
    scale = np.abs(values).max() or 1.0
    axes = _place(figure, _LEFT, top + 0.14, _COLUMNS * (_TILE + 0.02) - 0.02, 0.32)
    axes.imshow(values[None], cmap=_DIVERGING, vmin=-scale, vmax=scale, aspect="auto")


def _draw_bitmaps(figure: Figure, top: float, values: np.ndarray, code: np.ndarray, winner: int) -> None:
    pictures = (
        (0.0, values, "the 84 units\nas 7 x 12 pixels"),
        (2.6, code, f"the code of {winner},\nwhich is nearest"),
    )
    for shift, bits, name in pictures:
        axes = _place(figure, _LEFT + shift, top + 0.06, 0.7, 1.2)
        axes.imshow(bits.reshape(_BITMAP), cmap=_DIVERGING, vmin=-1.2, vmax=1.2)
        _write(figure, _LEFT + shift + 0.82, top + 0.66, name, ha="left", va="center")


def _draw_scores(figure: Figure, top: float, scores: np.ndarray, winner: int, *, distances: bool) -> None:
    axes = _place(figure, _LEFT, top + 0.06, 6.0, 0.42)
    axes.bar(range(len(scores)), scores, color=[_ACCENT if i == winner else "#aab4bd" for i in range(len(scores))])
    axes.set_xticks(range(len(scores)))
    axes.tick_params(labelsize=7, length=0)
    axes.get_xticklabels()[winner].set(color=_ACCENT, fontweight="bold")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.annotate(
        f"{scores[winner]:.1f}", (winner, scores[winner]), ha="center", va="bottom", fontsize=7, color=_ACCENT
    )
    name = "squared distance to the code\nof each class: the smallest wins" if distances else "score of each class"
    _write(figure, _LEFT + 6.2, top + 0.3, name, ha="left", va="center")


def _place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes without ticks at a position given in inches from the top left corner."""
    across, down = figure.get_size_inches()
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=_FRAME, linewidth=0.6)
    return axes


def _write(figure: Figure, left: float, top: float, text: str, size: float = 8, **style: Any) -> None:
    """Write text at a position given in inches from the top left corner, centred by default."""
    across, down = figure.get_size_inches()
    options: dict[str, Any] = {"ha": "center", "va": "baseline", "fontsize": size, **style}
    figure.text(left / across, 1 - top / down, text, **options)


def _title(figure: Figure, text: str) -> None:
    _write(figure, 0.15, 0.38, text, size=12, ha="left")
