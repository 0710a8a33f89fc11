"""Where the windows of a pool lie: `window`, `stride`, `padding` and `ceil_mode` turned into a `Geometry`."""

from __future__ import annotations

from dataclasses import replace

from cnnjax._core.messages import value_error
from cnnjax._core.shapes import Geometry, Padding, conv_geometry, integers

__all__ = ["Window", "pool_geometry"]

Window = int | tuple[int, ...]
"""A number of pixels along every axis, or one for each axis."""


def pool_geometry(
    caller: str,
    size: tuple[int, ...],
    window: Window,
    *,
    stride: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> Geometry:
    """Return the geometry of pooling windows on an image of `size`, (H, W) in 2-D.

    With `ceil_mode`, the padding after the image grows by what the last window reads beyond it::

        output = ceil((before + size + after - window) / stride) + 1        (along each axis)

    less one if the last window would then start beyond the image. Circular, mirrored and repeated edges already have a
    window at every stride-th pixel, and stay as they are.

    Args:
        caller: the function that an error message names.
        size: the pixels of the image along each axis.
        window: the pixels of a window along each axis.
        stride: pixels between neighbouring windows; by default the window.
        padding: as in `cnnjax.conv2d`, but smaller than the window.
        ceil_mode: whether the output size is rounded up instead of down.

    Raises:
        ArgumentTypeError: for a setting that is not an integer.
        ArgumentValueError: for a window larger than the padded image, or padding as large as the window.

    Example:
        >>> pool_geometry("max_pool2d", (6, 6), 3, stride=2).output
        (2, 2)
        >>> pool_geometry("max_pool2d", (6, 6), 3, stride=2, ceil_mode=True).output
        (3, 3)
    """
    kernel = integers(caller, "window", window, len(size), least=1)
    strides = kernel if stride is None else stride
    geometry = conv_geometry(caller, size, kernel, stride=strides, padding=padding, kernel_argument="window")
    if geometry.boundary != "zero":
        return geometry
    for pair, extent in zip(geometry.pads, kernel, strict=True):
        if max(pair) >= extent:
            raise value_error(
                caller,
                "padding",
                got=repr(padding),
                expected=f"less than the window {kernel}, so that every window sees some of the image",
                fix=f"use at most {extent - 1}",
            )
    return _rounded_up(geometry) if ceil_mode else geometry


def _rounded_up(geometry: Geometry) -> Geometry:
    """The geometry with one window more along each axis where pixels are left over that it can start at."""
    pads: list[tuple[int, int]] = []
    for n, k, s, (before, after) in zip(geometry.size, geometry.kernel, geometry.stride, geometry.pads, strict=True):
        extra = (k - before - n - after) % s
        # The additional window starts at before + n + after + extra - k: in the padding on the right only if the sum
        # of `after` and `extra` reaches k. The first test decides that without the size, which may be symbolic.
        starts_inside = after + s - 1 < k or after + extra < k
        pads.append((before, after + extra) if starts_inside else (before, after))
    return replace(geometry, pads=tuple(pads))
