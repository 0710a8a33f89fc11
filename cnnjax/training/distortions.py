"""Random affine distortions of images, drawn anew each time an image is presented, on the training device."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax._core.arguments import as_array, check_rank
from cnnjax._core.messages import describe, value_error

__all__ = ["affine", "random_affine", "random_shift"]


def random_shift(key: jax.Array, images: jax.Array, pixels: int = 1) -> jax.Array:
    """Shift each image by up to `pixels` rows and columns of its own; pixels beyond the edge repeat the edge.

    Args:
        key: of `jax.random.key`.
        images: (N, H, W, C), prepared.
        pixels: the largest shift, along each axis.

    Returns:
        As many images, (N, H, W, C).

    Example:
        >>> random_shift(jax.random.key(0), jnp.zeros((2, 32, 32, 1))).shape
        (2, 32, 32, 1)
    """
    count, height, width, maps = images.shape
    margins = (pixels, pixels)
    padded = jnp.pad(images, ((0, 0), margins, margins, (0, 0)), mode="edge")
    corners = jax.random.randint(key, (count, 2), 0, 2 * pixels + 1)

    def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (*corner, 0), (height, width, maps))

    return jax.vmap(crop)(padded, corners)


def random_affine(
    key: jax.Array,
    images: jax.Array,
    *,
    translation: float = 2.0,
    scaling: float = 0.15,
    squeezing: float = 0.15,
    shear: float = 0.3,
) -> jax.Array:
    """Translate, scale, squeeze and shear each image by random amounts of its own::

        translation ~ U(-translation, translation)             (down, and to the right)
        scale       = (1 + scaling)^u * (1 + squeezing)^(+-v)   (+ down, - to the right),   u, v ~ U(-1, 1)
        shear       ~ U(-shear, shear)

    Args:
        key: of `jax.random.key`.
        images: (N, H, W, C), prepared.
        translation: the largest translation in pixels, along each axis.
        scaling: with 0.15, an image becomes up to 1.15 times as large or as small.
        squeezing: with 0.15, an image becomes up to 1.15 times as tall and as narrow, or the reverse.
        shear: the largest horizontal displacement of a row, in pixels for each row of distance from the middle.

    Returns:
        As many images, (N, H, W, C), interpolated by `affine`.

    Raises:
        TypeError, ValueError: as `affine`; also for amounts that are negative or not numbers.

    Example:
        >>> random_affine(jax.random.key(0), jnp.zeros((2, 32, 32, 1))).shape
        (2, 32, 32, 1)

    Source: LeCun et al. 1998, section III.C, which names the four distortions but gives no amounts.
    """
    amounts = {"translation": translation, "scaling": scaling, "squeezing": squeezing, "shear": shear}
    for name, amount in amounts.items():
        if not isinstance(amount, (int, float)) or not amount >= 0:
            raise value_error(
                "random_affine",
                name,
                got=describe(amount),
                expected="a number of at least 0",
                fix=f"use {name}=0 for none",
            )
    images = _check_images("random_affine", images)
    up, left, size, shape, slant = jax.random.uniform(key, (5, len(images)), images.dtype, -1, 1)
    scale, squeeze = (1 + scaling) ** size, (1 + squeezing) ** shape
    return affine(
        images,
        translation=(translation * up, translation * left),
        scale=(scale * squeeze, scale / squeeze),
        shear=shear * slant,
    )


def affine(
    images: jax.Array,
    *,
    translation: tuple[jax.Array, jax.Array],
    scale: tuple[jax.Array, jax.Array],
    shear: jax.Array,
) -> jax.Array:
    """Scale about the middle, shear horizontally and translate, with linear interpolation between pixels::

        y[n, i, j] = x[n, m + (i - m - t) / s, m' + (j - m' - t') / s' + shear[n] (i - m)]

    with (m, m') the middle, and (t, t') the translation and (s, s') the scale down and to the right. Pixels beyond
    the edge repeat the edge.

    Args:
        images: (N, H, W, C), floating.
        translation: down and to the right in pixels, two arrays (N,).
        scale: down and to the right, two positive arrays (N,).
        shear: horizontal displacement in pixels for each row of distance from the middle, (N,).

    Returns:
        As many images, (N, H, W, C).

    Raises:
        TypeError: for images that are not of a floating dtype.
        ValueError: for images of another rank.

    Example:
        >>> x = jnp.arange(4.0).reshape(1, 1, 4, 1)
        >>> zero, one = jnp.zeros(1), jnp.ones(1)
        >>> print(affine(x, translation=(zero, one / 2), scale=(one, one), shear=zero)[0, 0, :, 0])
        [0.  0.5 1.5 2.5]

    Source: bilinear interpolation, separated by axis: rows are interpolated from rows only, so that two matrix
    products with interpolation weights replace a gather.
    """
    images = _check_images("affine", images)
    _, height, width, _ = images.shape
    rows, columns = jnp.arange(height, dtype=images.dtype), jnp.arange(width, dtype=images.dtype)
    down, right = rows - (height - 1) / 2, columns - (width - 1) / 2

    def per_image(amounts: jax.Array) -> jax.Array:
        return jnp.asarray(amounts, images.dtype)[:, None]

    row = (height - 1) / 2 + (down[None] - per_image(translation[0])) / per_image(scale[0])
    column = (width - 1) / 2 + (right[None] - per_image(translation[1])) / per_image(scale[1])
    column = column[:, None] + (per_image(shear) * down[None])[..., None]
    x = jnp.einsum("nir,nrwc->niwc", _interpolation_weights(row, height), images)
    return jnp.einsum("nijw,niwc->nijc", _interpolation_weights(column, width), x)


def _interpolation_weights(position: jax.Array, size: int) -> jax.Array:
    """Return the weights (..., size) of the pixels of an axis in linear interpolation at positions (...)."""
    pixels = jnp.arange(size, dtype=position.dtype)
    position = jnp.clip(position, 0, size - 1)[..., None]
    return jnp.maximum(0, 1 - jnp.abs(position - pixels.reshape((1,) * (position.ndim - 1) + (size,))))


def _check_images(caller: str, images: jax.Array) -> jax.Array:
    images = as_array(caller, "images", images)
    check_rank(caller, "images", images, ("N", "H", "W", "C"))
    return images
