"""What is a convolution? The classical answers, each with a short computation and a figure.

Expected: its matrix is sparse with repeated entries (C1 of LeNet-5: 156 parameters where a locally connected layer has
122,304 and a dense one 4,821,600); it is a product in the Fourier domain, and a true convolution once the kernel is
flipped; it is equivariant to translations, with pooling only to those by whole windows; in AlexNet's first layer it is
a matrix product of 96 x 363 by 363 x 3,025; it contains the dense layer, and a network without padding gives the same
scores on an image as on its crops; its gradient check at a step of 1e-5 has an error of 9e-13 in float64 and 8e-5 in
float32. Run time on two cores: 15 seconds; --quick, without AlexNet's full size: half of that.

    python experiments/classics.py --out docs
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from drawing import ACCENT, BLUE, INK, bare, new_figure, panel, save
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from record import environment, make_folders, save_json

import cnnjax
from cnnjax import Input, Network
from cnnjax.layers import Conv2D, Dense, MaxPool2D

QUESTION = (__doc__ or "").partition("\n")[0]
Result = tuple[dict[str, Any], Figure]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def difference(a: Any, b: Any) -> float:
    """The largest absolute difference of two arrays of the same shape."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape
    return float(np.abs(a - b).max())


# --- a convolution is a matrix


def as_matrix(quick: bool) -> Result:
    """A convolution as a matrix, beside those of a locally connected and of a dense layer of the same shape."""
    x, w = normal(0, 8, 8, 1), normal(1, 3, 3, 1, 1)
    every = normal(2, 6, 6, 3, 3, 1, 1)
    shared = jax.jacobian(lambda x: cnnjax.conv2d(x, w).ravel())(jnp.zeros((8, 8, 1))).reshape(36, 64)
    local = jax.jacobian(lambda x: cnnjax.local_conv2d(x, every).ravel())(jnp.zeros((8, 8, 1))).reshape(36, 64)
    c1 = {
        "dense": Dense(28 * 28 * 6).counts((32, 32, 1)).num_parameters,
        "locally connected": 28 * 28 * Conv2D(6, 5).counts((32, 32, 1)).num_parameters,
        "convolution": Conv2D(6, 5).counts((32, 32, 1)).num_parameters,
    }
    numbers = {
        "product_with_the_matrix_differs_by": difference(shared @ x.ravel(), cnnjax.conv2d(x, w).ravel()),
        "share_of_entries_that_are_not_zero": float((shared != 0).mean()),
        "distinct_values": len(np.unique(np.asarray(shared)[np.asarray(shared) != 0])),
        "parameters_of_c1": c1,
    }
    figure = new_figure(
        8.6, 2.45, "Three layers from 8 x 8 to 6 x 6 pixels as matrices, and the parameters of C1 for each"
    )
    matrices = {"dense": normal(3, 36, 64), "locally connected": local, "convolution": shared}
    for axes, (name, matrix) in zip(figure.subplots(1, 3), matrices.items(), strict=True):
        panel(axes, matrix, f"{name}\nC1: {c1[name]:,} parameters", scale=2)
    return numbers, figure


# --- a convolution is a product of spectra, and a true convolution flips the kernel


def spectra(quick: bool) -> Result:
    """cnnjax computes cross-correlations; a flipped kernel makes them convolutions; the FFT gives the same numbers."""
    image, kernel = np.zeros((15, 15), np.float32), np.zeros((5, 5), np.float32)
    image[7, 7] = 1
    kernel[1, 1:4] = kernel[1:4, 1] = kernel[2, 1:3] = 1
    run = lambda w: cnnjax.conv2d(image[..., None], w[..., None, None], padding="SAME")[..., 0]  # noqa: E731
    ours, flipped = run(kernel), run(np.ascontiguousarray(kernel[::-1, ::-1]))
    x, w = normal(0, 16, 16, 3), normal(1, 5, 5, 3, 4)
    product = jnp.fft.rfft2(x, axes=(0, 1))[..., None] * jnp.conj(jnp.fft.rfft2(w, (16, 16), axes=(0, 1)))
    by_fft = jnp.fft.irfft2(product.sum(axis=2), (16, 16), axes=(0, 1))[:12, :12]
    numbers = {
        "scipy_correlate2d_differs_by": difference(ours, scipy.signal.correlate2d(image, kernel, "same")),
        "flipped_and_scipy_convolve2d_differ_by": difference(flipped, scipy.signal.convolve2d(image, kernel, "same")),
        "fft_differs_by": difference(by_fft, cnnjax.conv2d(x, w)),
    }
    figure = new_figure(
        8.6, 2.6, "Response to one bright pixel: cross-correlation flips the kernel, convolution does not"
    )
    panels = {"image": image, "kernel": kernel, "cross-correlation\n(as in networks)": ours, "convolution": flipped}
    for axes, (name, values) in zip(figure.subplots(1, 4), panels.items(), strict=True):
        panel(axes, values, name, grey=True)
    return numbers, figure


# --- a convolution is equivariant to translations


def equivariance(quick: bool) -> Result:
    """The difference between the output of a shifted image and the shifted output, without and with pooling."""
    x, w = normal(0, 24, 24, 1), normal(1, 5, 5, 1, 4)
    maps = lambda x: jnp.tanh(cnnjax.conv2d(x, w, padding="CIRCULAR"))  # noqa: E731
    pooled = lambda x: cnnjax.max_pool2d(maps(x), 2)  # noqa: E731
    size = lambda a: float(jnp.sqrt(jnp.mean(a**2)))  # noqa: E731
    shifts = range(9)
    y, p = maps(x), pooled(x)
    moved: dict[str, list[float]] = {"convolution": [], "then 2 x 2 pooling": []}
    for shift in shifts:
        shifted = jnp.roll(x, shift, axis=1)
        moved["convolution"].append(size(maps(shifted) - jnp.roll(y, shift, axis=1)) / size(y))
        moved["then 2 x 2 pooling"].append(size(pooled(shifted) - jnp.roll(p, shift // 2, axis=1)) / size(p))
    invariant = kept_by_pooling()
    figure = new_figure(8.6, 3.2, "Translation equivariance: does the output shift with the image?")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    right.set_axis_off()
    for (name, values), colour, mark in zip(moved.items(), (BLUE, ACCENT), "os", strict=True):
        left.plot(shifts, values, color=colour, marker=mark, label=name, markersize=4)
    left.set(xlabel="shift in pixels", ylabel="f(shifted x) - shifted f(x), relative")
    left.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    left.spines[["top", "right"]].set_visible(False)
    right.text(
        0.0,
        0.5,
        f"Under {invariant} of the 8 shifts by one pixel,\na maximum stays in its 2 x 2 window:\n"
        "pooling is invariant to some shifts,\nbut not to most.",
        va="center",
        fontsize=9,
        color=INK,
    )
    return {**moved, "one_pixel_shifts_that_2x2_pooling_absorbs": f"{invariant} of 8"}, figure


def kept_by_pooling() -> int:
    """How many of the eight one-pixel shifts of a single maximum leave the output of 2 x 2 max pooling unchanged."""
    spot = jnp.zeros((6, 6, 1)).at[2, 2].set(1.0)
    steps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    pooled = cnnjax.max_pool2d(jnp.stack([spot, *(jnp.roll(spot, step, axis=(0, 1)) for step in steps)]), 2)
    return int(jnp.sum(jnp.all(pooled[1:] == pooled[0], axis=(1, 2, 3))))


# --- a convolution is one matrix product of patches


def im2col(quick: bool) -> Result:
    """AlexNet's first layer as in the cs231n course notes: every patch is a column, every kernel a row."""
    size = 67 if quick else 227
    row, column, colour = np.ogrid[:size, :size, :3]
    x = np.sin((0.2 + 0.1 * colour) * np.hypot(row - 20, column - 30)).astype(np.float32)
    w = normal(1, 11, 11, 3, 96)
    windows = np.lib.stride_tricks.sliding_window_view(x, (11, 11), axis=(0, 1))[::4, ::4]
    positions = windows.shape[:2]
    columns = windows.transpose(0, 1, 3, 4, 2).reshape(-1, 363).T
    product = (w.reshape(363, 96).T @ columns).T.reshape(*positions, 96)
    numbers = {
        "columns": list(columns.shape),
        "kernels": [96, 363],
        "numbers_in_columns_per_pixel_value": columns.size / x.size,
        "largest_difference_relative": difference(product, cnnjax.conv2d(x, w, stride=4)) / float(abs(product).max()),
    }
    figure = new_figure(8.6, 2.7, f"im2col: {positions[0]} x {positions[1]} patches of 11 x 11 x 3 become columns")
    left, right = figure.subplots(1, 2, width_ratios=[1, 2.6])
    panel(left, x[:67, :67, 0], "corner of the red channel, three patches", grey=True)
    for colour, corner in ((ACCENT, (0, 0)), (BLUE, (4, 0)), (INK, (28, 0))):
        frame: dict[str, Any] = {"facecolor": "none", "edgecolor": colour, "linewidth": 2}
        left.add_patch(Rectangle((corner[0] - 0.5, corner[1] - 0.5), 11, 11, **frame))
        right.add_patch(Rectangle((corner[0] // 4 - 0.5, -0.5), 1, 121, **frame))
    red, shown = columns[::3], positions[1]
    title = f"the first {shown} of {columns.shape[1]:,} columns, only the 121 rows of the red channel"
    panel(right, red[:, :shown], title, grey=True)
    right.set_aspect("auto")
    return numbers, figure


# --- a dense layer is a convolution


def dense_as_convolution(quick: bool) -> Result:
    """A network applied to a larger image: the same scores as on its crops, unless the network pads."""
    numbers: dict[str, Any] = {}
    gaps = {}
    paddings: dict[str, Literal["VALID", "SAME"]] = {"without padding": "VALID", "with padding": "SAME"}
    for name, padding in paddings.items():
        layers = (("a", Conv2D(4, 3, padding=padding, activation="relu")), ("pool", MaxPool2D(2)))
        small = Network(name, Input((16, 16, 1)), (*layers, ("out", Dense(3))))
        params = small.init(jax.random.key(0))
        kernel = params["out"]["w"].reshape(*small.input_shapes()["out"], 3)
        large = normal(1, 32, 32, 1)
        slid = Network(name, Input((32, 32, 1)), layers)
        wide = slid.volumes({"a": params["a"]}, large)["pool"]
        scores = cnnjax.conv2d(wide, kernel, params["out"]["b"])
        n = scores.shape[0]
        crops = np.stack([large[2 * i : 2 * i + 16, 2 * j : 2 * j + 16] for i in range(n) for j in range(n)])
        one_by_one = small.apply(params, crops).reshape(n, n, 3)
        gaps[name] = np.abs(np.asarray(scores - one_by_one)).max(axis=-1)
        numbers[name] = {"crops": n * n, "difference": float(gaps[name].max()), "scale": float(jnp.abs(scores).max())}
    figure = new_figure(8.6, 3.0, "A dense layer as a convolution: scores on the whole image minus those on each crop")
    for axes, (name, gap) in zip(figure.subplots(1, 2), gaps.items(), strict=True):
        shown = axes.imshow(gap, cmap="Reds", vmin=0, vmax=max(float(g.max()) for g in gaps.values()))
        bare(axes, f"{name}: at most {gap.max():.2g}")
        figure.colorbar(shown, ax=axes, shrink=0.8)
    return numbers, figure


# --- how a gradient is checked


def gradient_practice(quick: bool) -> Result:
    """The relative error of finite differences against the step: two formulas, two precisions, and a kink."""
    steps = 10.0 ** -np.arange(1, 12)
    at, slope = 0.7, 1 - np.tanh(0.7) ** 2

    def error(formula: Callable[[Any], Any]) -> list[float]:
        return [float(abs(formula(h) - slope) / max(abs(formula(h)), slope)) for h in steps]

    def centred(kind: type) -> Callable[[float], Any]:
        up = lambda h: np.tanh(kind(at) + kind(h)) - np.tanh(kind(at) - kind(h))  # noqa: E731
        return lambda h: float(up(h)) / (2 * h)

    curves = {
        "centred, float64": error(centred(np.float64)),
        "one-sided, float64": error(lambda h: (np.tanh(at + h) - np.tanh(at)) / h),
        "centred, float32": error(centred(np.float32)),
    }
    place = -1e-6
    relu = lambda x: np.maximum(x, 0)  # noqa: E731
    kink = [float((relu(place + h) - relu(place - h)) / (2 * h)) for h in steps]
    report = cnnjax.check_grads(lambda x: jnp.maximum(x, 0.0), (jnp.asarray(place),))
    figure = new_figure(8.6, 3.3)
    left, right = figure.subplots(1, 2)
    for (name, values), colour in zip(curves.items(), (BLUE, ACCENT, INK), strict=True):
        left.loglog(steps, np.maximum(values, 1e-16), "o-", color=colour, label=name, markersize=3)
    left.set(xlabel="step h", ylabel="relative error", title="tanh at 0.7: error by formula and precision")
    left.legend(fontsize=8, frameon=False)
    right.semilogx(steps, kink, "o-", color=ACCENT, markersize=3, label="centred difference")
    right.axhline(0, color=BLUE, label="derivative")
    right.set(xlabel="step h", title="relu at -1e-6: steps across the kink give up to 1/2")
    right.legend(fontsize=8, frameon=False)
    for axes in (left, right):
        axes.title.set(fontsize=9, color=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.invert_xaxis()
    return {"steps": steps.tolist(), **curves, "kink": kink, "check_grads_accepts_relu": report.ok}, figure


ANSWERS: dict[str, Callable[[bool], Result]] = {
    "matrix": as_matrix,
    "spectra": spectra,
    "equivariance": equivariance,
    "im2col": im2col,
    "dense": dense_as_convolution,
    "gradient": gradient_practice,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute and draw the answers; return the exit status."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--only", choices=ANSWERS, nargs="+", default=list(ANSWERS), help="only some of the answers")
    parser.add_argument("--out", type=Path, default=Path("results/classics"), help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="AlexNet's layer on 67 x 67 instead of 227 x 227 pixels")
    options = parser.parse_args(arguments)
    folders = make_folders(options.out)
    results = {name: ANSWERS[name](options.quick) for name in options.only}
    for name, (numbers, _) in results.items():
        print(f"{name}: {(ANSWERS[name].__doc__ or '').splitlines()[0]}")
        print("\n".join(f"  {key.replace('_', ' ')}: {value}" for key, value in numbers.items()))
    save({f"classic_{name}": figure for name, (_, figure) in results.items()}, folders.figures)
    record = {"question": QUESTION, "environment": environment(), "seeds": "written into the script"}
    save_json(folders.records / "classics.json", record | {name: numbers for name, (numbers, _) in results.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
