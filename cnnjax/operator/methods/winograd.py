"""Winograd's minimal filtering: 3 x 3 kernels with fewer multiplications, on tiles of 2 x 2 or 4 x 4 outputs::

    Y = A^T ( (G w G^T) * (B^T x B) ) A        for each tile, summed over the input maps before A

F(2x2, 3x3) multiplies 16 times where the definition multiplies 36 times, F(4x4, 3x3) 36 times for 144. The transforms
add; those of F(4x4, 3x3) have entries up to 8 and lose about two decimal places, so its error reaches 1e-5 in float32
where that of the definition is 1e-6: it is never chosen automatically.

Cost: taps / 2.25 (taps / 4) multiply-accumulates, and the memory of the transformed tiles. They serve one group of
3 x 3 kernels, without stride and dilation.

Source: Winograd 1980, "Arithmetic complexity of computations"; Lavin and Gray 2016, "Fast algorithms for convolutional
neural networks", section 4.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax._core.windows import pad_constant
from cnnjax.operator.method import Compute, Method, transposed_in_w, transposed_in_x
from cnnjax.operator.spec import ConvSpec, MethodName

__all__ = ["METHODS"]

# A^T, G and B^T for each tile size
_TRANSFORMS = {
    2: (
        np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
        np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
        np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
    ),
    4: (
        np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]),
        np.array(
            [
                [1 / 4, 0, 0],
                [-1 / 6, -1 / 6, -1 / 6],
                [-1 / 6, 1 / 6, -1 / 6],
                [1 / 24, 1 / 12, 1 / 6],
                [1 / 24, -1 / 12, 1 / 6],
                [0, 0, 1],
            ]
        ),
        np.array(
            [
                [4, 0, -5, 0, 1, 0],
                [0, -4, -4, 1, 1, 0],
                [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0],
                [0, 2, -1, -2, 1, 0],
                [0, 4, 0, -5, 0, 1],
            ]
        ),
    ),
}


def _refuses(spec: ConvSpec) -> str | None:
    if not jnp.issubdtype(spec.dtype, jnp.inexact):
        return "it transforms, and integers do not stay integers"
    if spec.groups != 1 or spec.geometry.kernel != (3, 3):
        return "it is for one group and 3 x 3 kernels"
    return None if spec.unit_stride and spec.unit_dilation else "it is for stride 1 and dilation 1"


def _forward_by_tiles(tile: int) -> Compute:
    def convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
        back, of_w, of_x = (jnp.asarray(matrix, x.dtype) for matrix in _TRANSFORMS[tile])
        rows, columns = spec.geometry.output
        down, across = -(-rows // tile), -(-columns // tile)
        padded = pad_constant(x, spec.geometry)
        missing = [(0, n * tile + 2 - size) for n, size in zip((down, across), padded.shape[1:3], strict=True)]
        padded = jnp.pad(padded, ((0, 0), *missing, (0, 0)))
        size = tile + 2
        tiles = jnp.stack([padded[:, a : a + (down - 1) * tile + 1 : tile] for a in range(size)])
        tiles = jnp.stack([tiles[:, :, :, a : a + (across - 1) * tile + 1 : tile] for a in range(size)], axis=1)
        # tiles (size, size, N, down, across, C_in)
        transformed = _transform(of_x, tiles)
        kernels = _transform(of_w, w)
        products = jnp.matmul(transformed.reshape(size, size, -1, spec.c_in), kernels, precision=spec.precision)
        y = _transform(back, products).reshape(tile, tile, spec.n, down, across, spec.c_out)
        y = y.transpose(2, 3, 0, 4, 1, 5).reshape(spec.n, down * tile, across * tile, spec.c_out)
        return y[:, :rows, :columns]

    return convolve


def _transform(matrix: jax.Array, a: jax.Array) -> jax.Array:
    """matrix a matrix^T over the first two axes of a, in full precision, because the method's error arises here."""
    high = jax.lax.Precision.HIGHEST
    a = jnp.tensordot(matrix, a, axes=(1, 0), precision=high)
    return jnp.moveaxis(jnp.tensordot(matrix, a, axes=(1, 1), precision=high), 0, 1)


def _method(name: MethodName, tile: int) -> Method:
    forward = _forward_by_tiles(tile)
    return Method(name, forward, transposed_in_x(forward), transposed_in_w(forward), _refuses)


METHODS = (_method("winograd2", 2), _method("winograd4", 4))
