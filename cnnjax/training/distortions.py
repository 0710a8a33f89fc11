"""Random planar affine distortions of images, drawn anew whenever an image is shown, on the device that trains."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax._core.arguments import array, check_rank
from cnnjax._core.messages import describe, value_error

__all__ = ["affine", "random_affine"]


def random_affine(
    key: jax.Array,
    images: jax.Array,
    *,
    translation: float = 2.0,
    scaling: float = 0.15,
    squeezing: float = 0.15,
    shear: float = 0.3,
) -> jax.Array:
    """Translate, scale, squeeze and shear each image by amounts of its own, uniform up to the given ones.

    Args:
        key: of `jax.random.key`.
        images: (N, H, W, C), prepared.
        translation: the most pixels, along each axis.
        scaling: 0.15 makes an image up to 1.15 times as large, or as small.
        squeezing: 0.15 makes it up to 1.15 times as tall and as narrow, or the reverse.
        shear: the most pixels that a row moves sideways for each row that it is away from the middle.

    Returns:
        As many images, by `affine`.

    Raises:
        TypeError, ValueError: as `affine`; for amounts that are negative or no numbers.

    >>> random_affine(jax.random.key(0), jnp.zeros((2, 32, 32, 1))).shape
    (2, 32, 32, 1)

    Source: LeCun et al. 1998, section III.C, which names the four distortions and gives no amounts.
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
    images = _images("random_affine", images)
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
    """Scale about the middle, shear horizontally, translate; between pixels interpolate linearly.

        y[n, i, j] = x[n, m + (i - m - t) / s, m' + (j - m' - t') / s' + shear[n] (i - m)]

    with (m, m') the middle, (t, t') the translation and (s, s') the scale down and to the right. A pixel read from
    beyond the edge is the nearest one of the edge.

    Args:
        images: (N, H, W, C), floating.
        translation: down and to the right in pixels, two arrays (N,).
        scale: down and to the right, two positive arrays (N,).
        shear: (N,).

    Raises:
        TypeError: for images that are not of a floating dtype.
        ValueError: for images of another rank.

    >>> x = jnp.arange(4.0).reshape(1, 1, 4, 1)
    >>> zero, one = jnp.zeros(1), jnp.ones(1)
    >>> print(affine(x, translation=(zero, one / 2), scale=(one, one), shear=zero)[0, 0, :, 0])
    [0.  0.5 1.5 2.5]

    Source: bilinear interpolation in two steps, one an axis: a row is read from rows alone, so that two products with
    matrices of interpolation weights take the place of a gather.
    """
    images = _images("affine", images)
    _, height, width, _ = images.shape
    rows, columns = jnp.arange(height, dtype=images.dtype), jnp.arange(width, dtype=images.dtype)
    down, right = rows - (height - 1) / 2, columns - (width - 1) / 2
    per_image = lambda a: jnp.asarray(a, images.dtype)[:, None]  # noqa: E731
    row = (height - 1) / 2 + (down[None] - per_image(translation[0])) / per_image(scale[0])
    column = (width - 1) / 2 + (right[None] - per_image(translation[1])) / per_image(scale[1])
    column = column[:, None] + (per_image(shear) * down[None])[..., None]
    x = jnp.einsum("nir,nrwc->niwc", _weights(row, height), images)
    return jnp.einsum("nijw,niwc->nijc", _weights(column, width), x)


def _weights(position: jax.Array, size: int) -> jax.Array:
    """The weights (..., size) by which linear interpolation takes the pixels at a position (...)."""
    pixels = jnp.arange(size, dtype=position.dtype)
    position = jnp.clip(position, 0, size - 1)[..., None]
    return jnp.maximum(0, 1 - jnp.abs(position - pixels.reshape((1,) * (position.ndim - 1) + (size,))))


def _images(caller: str, images: jax.Array) -> jax.Array:
    images = array(caller, "images", images)
    check_rank(caller, "images", images, ("N", "H", "W", "C"))
    return images
