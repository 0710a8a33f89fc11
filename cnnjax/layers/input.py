"""The input of a network: images of a given size, with their grey levels scaled to a range."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import integers
from cnnjax.layers.base import Shape

__all__ = ["Input"]


@dataclass(frozen=True)
class Input:
    """The input of a network: images (H, W, C), with their grey levels scaled to a range.

    Args:
        shape: the axes (H, W, C) of one image.
        background: the value of grey level 0, one number or one for each map.
        foreground: the value of grey level 255, one number or one for each map.

    Raises:
        ArgumentTypeError, ArgumentValueError: for a shape that is not three positive integers, or a number of
            values that is not that of the maps.

    Example:
        >>> Input((32, 32, 1), background=-0.1, foreground=1.175).prepare(np.zeros((2, 28, 28), np.uint8)).shape
        (2, 32, 32, 1)
    """

    shape: Shape
    background: float | tuple[float, ...] = 0.0
    foreground: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        """Convert the shape to a tuple of three integers, and check the number of values."""
        if not isinstance(self.shape, (tuple, list)):
            raise type_error(
                "Input", "shape", got=describe(self.shape), expected="a tuple (H, W, C)", fix="write Input((32, 32, 1))"
            )
        object.__setattr__(self, "shape", integers("Input", "shape", tuple(self.shape), 3, least=1))
        for argument in ("background", "foreground"):
            value = getattr(self, argument)
            if isinstance(value, tuple) and len(value) != self.shape[-1]:
                expected = f"a number, or one for each of the {self.shape[-1]} maps"
                raise value_error("Input", argument, got=f"{value}", expected=expected, fix="add or remove values")

    def prepare(self, images: ArrayLike, dtype: DTypeLike = jnp.float32) -> jax.Array:
        """Scale uint8 images and pad them with background to the shape of the input, centred::

            x = background + (foreground - background) * images / 255

        Args:
            images: uint8 (N, h, w) or (N, h, w, C), at most as large as `shape`.
            dtype: of the result.

        Returns:
            x, (N, H, W, C).

        Raises:
            ArgumentTypeError: for a dtype other than uint8.
            ArgumentValueError: for images larger than `shape`.
        """
        if getattr(images, "dtype", None) != np.uint8:
            raise type_error(
                "Input.prepare",
                "images",
                got=describe(images),
                expected="uint8 grey levels",
                fix="images that are scaled already go to network.apply as they are",
            )
        pixels = jnp.asarray(images)
        pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        height, width, maps = self.shape
        if pixels.ndim != 4 or pixels.shape[-1] != maps or pixels.shape[1] > height or pixels.shape[2] > width:
            raise value_error(
                "Input.prepare",
                "images",
                got=describe(images),
                expected=f"(N, h, w) or (N, h, w, {maps}), at most {height} x {width} pixels",
                fix="crop or resize them first",
            )
        rows, columns = height - pixels.shape[1], width - pixels.shape[2]
        margins = ((0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0))
        grey = jnp.pad(pixels, margins).astype(dtype) / 255
        if isinstance(self.background, tuple) or isinstance(self.foreground, tuple):
            low, high = (
                jnp.broadcast_to(jnp.asarray(value, dtype), grey.shape) for value in (self.background, self.foreground)
            )
            return grey * (high - low) + low
        return grey * (self.foreground - self.background) + self.background
