"""What happens to one image in a network, from one volume (activation tensor) to the next, map by map?

Expected: the shape of every volume; the receptive field of one unit of each; and, for one map of a convolution, the
contribution of each input map, their sum, the bias and the activated map, which equal what `apply` computes.
Run time on two cores: 15 seconds; --quick, without training: a few seconds.

    python experiments/volumes.py && cp results/volumes/figures/{receptive_fields,sum_over_maps}.png docs/figures/
    python experiments/volumes.py --network lenet_tutorial --layer c3 --map 7 --digit 4
    python experiments/volumes.py --image picture.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib.image
import numpy as np
import optax
from drawing import ACCENT, bare, new_figure, panel, save, sign
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from record import configuration, environment, make_folders, save_json

import cnnjax
from cnnjax import Network, figures, training
from cnnjax.layers import Conv2D
from cnnjax.layers.anatomy import decompose, receptive_field

QUESTION = (__doc__ or "").partition("\n")[0]
NETWORKS = ("lenet5", "lenet_tutorial", "four_to_six")


def main(arguments: Sequence[str] | None = None) -> int:
    """Apply a network to one image and draw every step; return the exit status."""
    options = parse(arguments)
    folders = make_folders(options.out)
    network = getattr(cnnjax.models, options.network)()
    layer = options.layer or [name for name, kind in network.layers if isinstance(kind, Conv2D)][1]
    params, image, label = trained(network, options)
    try:
        parts = decompose(network, params, image, layer)
    except cnnjax.CnnjaxError as error:
        raise SystemExit(f"--layer: {error}") from error
    if options.map >= parts.table.c_out:
        raise SystemExit(f"--map: {options.map} is not one of the {parts.table.c_out} maps of {layer}.")

    rows = table(network)
    print("\n".join(f"{row['volume']:<8} {row['shape']!s:<14} {row['sees']}" for row in rows))
    reads = parts.table.rows[options.map]
    print(f"\n{layer} map {options.map} reads the maps {', '.join(map(str, reads))} of its input")
    save(
        {
            "volumes": figures.feature_maps(network, params, image, label),
            "receptive_fields": fields(network, image),
            "sum_over_maps": sum_over_maps(network, params, image, layer, options.map),
        },
        folders.figures,
    )
    content = {"question": QUESTION, "environment": environment(), "config": configuration(options), "volumes": rows}
    save_json(folders.records / "volumes.json", content)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--network", choices=NETWORKS, default="lenet5", help="one of cnnjax.models (lenet5)")
    parser.add_argument("--layer", help="the convolution to decompose (the second)")
    parser.add_argument("--map", type=int, default=0, help="which of its output maps (0)")
    parser.add_argument(
        "--digit", type=int, default=3, choices=range(10), help="class of the image: its first test digit (3)"
    )
    parser.add_argument(
        "--image", type=Path, help="picture to use instead, at most as large as the input of the network"
    )
    parser.add_argument("--epochs", type=int, default=5, help="training epochs on 4,000 digits (5)")
    parser.add_argument("--seed", type=int, default=0, help="seed of initial weights and order (0)")
    parser.add_argument("--out", type=Path, default=Path("results/volumes"), help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="do not train; use random weights")
    return parser.parse_args(arguments)


def trained(network: Network, options: argparse.Namespace) -> tuple[Any, np.ndarray, int | None]:
    """Parameters, the prepared image, and its class if known."""
    data = cnnjax.datasets.mnist()
    params = network.init(jax.random.key(options.seed))
    if not options.quick:
        steps = options.epochs * (len(data.train_labels) // 32)
        optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))
        settings: dict[str, Any] = {
            "optimizer": optimizer,
            "epochs": options.epochs,
            "batch_size": 32,
            "seed": options.seed,
        }
        for epoch in training.fit(network, data.train_images, data.train_labels, **settings):
            params = epoch.state.params
    label: int | None = options.digit
    pixels = data.test_images[np.flatnonzero(data.test_labels == options.digit)[0]]
    if options.image:
        pixels, label = read(options.image), None
    try:
        return params, np.asarray(network.input.prepare(pixels[None])[0]), label
    except cnnjax.CnnjaxError as error:
        raise SystemExit(f"--image: {error}") from error


def read(path: Path) -> np.ndarray:
    """A picture as uint8 with ink 255 on a background of 0, inverted if its border is bright."""
    try:
        values = matplotlib.image.imread(path)
    except (OSError, ValueError) as error:
        raise SystemExit(f"--image: {path} cannot be read as a picture ({error}).") from error
    values = values[..., :3].mean(axis=-1) if values.ndim == 3 else values
    grey = np.asarray(values, float) / (255 if values.max() > 1 else 1)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return np.round(255 * (1 - grey if edge.mean() > 0.5 else grey)).astype(np.uint8)


def middle(shape: Sequence[int]) -> tuple[int, int]:
    return (shape[0] // 2, shape[1] // 2) if len(shape) == 3 else (0, 0)


def table(network: Network) -> list[dict[str, Any]]:
    """The shape of each volume and the receptive field of its middle unit."""
    rows = []
    for name, shape in network.shapes().items():
        down, across = receptive_field(network, name, middle(shape))
        sees = f"rows {down.start} to {down.stop - 1}, columns {across.start} to {across.stop - 1}"
        rows.append({"volume": name, "shape": list(shape), "unit": list(middle(shape)), "sees": sees})
    return rows


def fields(network: Network, image: np.ndarray) -> Figure:
    """The image once per volume, with the receptive field of the middle unit of the volume."""
    volumes = list(network.shapes().items())[1:]
    figure = new_figure(1.35 * len(volumes), 2.2, f"{network.name}: receptive field of the middle unit of each volume")
    for axes, (name, shape) in zip(figure.subplots(1, len(volumes)), volumes, strict=True):
        axes.imshow(image.mean(axis=-1), cmap="gray_r")
        down, across = receptive_field(network, name, middle(shape))
        corner, size = (across.start - 0.5, down.start - 0.5), (across.stop - across.start, down.stop - down.start)
        axes.add_patch(Rectangle(corner, *size, facecolor=ACCENT, alpha=0.25, linewidth=0))
        axes.add_patch(Rectangle(corner, *size, facecolor="none", edgecolor=ACCENT, linewidth=2))
        bare(axes, f"{name.upper()}: {size[1]} x {size[0]}")
    return figure


def sum_over_maps(network: Network, params: Any, image: np.ndarray, layer: str, o: int) -> Figure:
    """One map of a convolution decomposed: input maps, slices, partial responses, sum, bias, activation function."""
    parts = decompose(network, params, image, layer)
    reads = parts.table.rows[o]
    shown = reads[:8]
    more = "" if len(reads) == len(shown) else f" (the first {len(shown)} of {len(reads)} input maps)"
    columns = len(shown) + 1
    figure = new_figure(
        1.25 * columns + 3.4, 4.6, f"{network.name}, {layer.upper()} map {o}: the sum over its input maps{more}"
    )
    halves: Any = figure.subfigures(1, 2, width_ratios=[columns, 2.6])
    left, right = halves
    grid = left.subplots(3, columns, width_ratios=[0.62, *[1] * len(shown)])
    weights, partial = np.asarray(parts.weights[..., o]), np.asarray(parts.partial[..., o])
    scales = (float(np.abs(weights).max()) or 1.0, float(np.abs(partial).max()) or 1.0)
    for axes, text in zip(grid[:, 0], ("input", "kernel\nslice", "response"), strict=True):
        sign(axes, text)
        axes.texts[0].set_fontsize(9)
    for column, c in enumerate(shown, 1):
        panel(grid[0, column], parts.inputs[..., c], f"map {c}")
        panel(grid[1, column], weights[..., c], scale=scales[0])
        panel(grid[2, column], partial[..., c], scale=scales[1])
    last = right.subplots(2, 1)
    bias = float(parts.bias[o])
    total, activated = np.asarray(parts.total[..., o]), np.asarray(parts.output[..., o])
    row, column = np.unravel_index(np.abs(total).argmax(), total.shape)
    panel(last[0], total, f"sum of the responses; bias {bias:+.3f}")
    convolution: Any = dict(network.layers)[layer]
    panel(last[1], activated, f"after {convolution.activation}")
    for axes in last:
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="none", edgecolor="black", linewidth=1.5))
    terms = " + ".join(f"({float(partial[row, column, c]):.2f})" for c in reads[:4])
    rest = " + ..." if len(reads) > 4 else ""
    last[1].set_xlabel(
        f"framed unit, row {row}, column {column}:\n{terms}{rest} = {total[row, column]:.2f}\n"
        f"with bias {total[row, column] + bias:.2f}, activated {activated[row, column]:.2f}",
        fontsize=8,
    )
    return figure


if __name__ == "__main__":
    sys.exit(main())
