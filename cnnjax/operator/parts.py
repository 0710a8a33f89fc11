"""A computation on a part of the images at a time, which bounds the memory of what it writes on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
from jax import lax

from cnnjax.operator.spec import ConvSpec

__all__ = ["in_parts"]

_SMALL = 2**23
"""Temporary arrays of up to this number of bytes are not worth a loop."""


def in_parts(
    compute: Callable[[jax.Array, ConvSpec], jax.Array], images: jax.Array, spec: ConvSpec, temporary: int
) -> jax.Array:
    """Return compute(images, spec), which needs `temporary` bytes, for halves, thirds or quarters of images (N, ...).

    If the temporary arrays are small, or N is not divisible, all images are one part.
    """
    parts = next((n for n in (2, 3, 4) if spec.n % n == 0), 1)
    if temporary <= _SMALL or parts == 1:
        return compute(images, spec)
    part = replace(spec, n=spec.n // parts)
    results = lax.map(lambda a: compute(a, part), images.reshape(parts, part.n, *images.shape[1:]))
    return results.reshape(spec.n, *results.shape[2:])
