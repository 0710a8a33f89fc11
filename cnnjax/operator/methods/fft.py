"""By the convolution theorem: a product of Fourier transforms instead of a sum over the taps::

    y = F^-1( F(x) * conj(F(w)) )        summed over the input maps; the conjugate, because the kernel is not flipped

Cost: three transforms of the padded image and one multiply-accumulate for each frequency, input map and output map,
whatever the size of the kernel; the error grows with the logarithm of the size. With a stride it discards most of what
it computes. It serves one group.

Source: Mathieu, Henaff and LeCun 2014, "Fast training of convolutional networks through FFTs".
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax._core.windows import pad_constant
from cnnjax.operator.method import Method, transposed_in_w, transposed_in_x
from cnnjax.operator.spec import ConvSpec

__all__ = ["METHOD"]


def _refuses(spec: ConvSpec) -> str | None:
    if not jnp.issubdtype(spec.dtype, jnp.inexact):
        return "it transforms, and integers do not stay integers"
    return None if spec.groups == 1 else "it is for one group"


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    geometry = spec.geometry
    axes = tuple(range(len(geometry.size)))
    dilated = jnp.zeros((*geometry.extent, spec.c_in, spec.c_out), w.dtype)
    dilated = dilated.at[tuple(slice(None, None, d) for d in geometry.dilation)].set(w)
    size = geometry.padded
    complex_input = jnp.iscomplexobj(x)
    transform = jnp.fft.fftn if complex_input else jnp.fft.rfftn
    back = jnp.fft.ifftn if complex_input else jnp.fft.irfftn
    image_axes = [axis + 1 for axis in axes]
    of_x = transform(pad_constant(x, geometry), size, image_axes)
    # A complex w is conjugated twice: once for the correlation, and once because the correlation does not conjugate w.
    of_w = transform(jnp.conj(dilated) if complex_input else dilated, size, axes)
    y = back(_product_with_conjugate(of_x, of_w, spec), size, image_axes).astype(x.dtype)
    # The result is circular over the padded image; what wraps around lies beyond the last position.
    inside = [
        slice(0, (positions - 1) * stride + 1, stride)
        for positions, stride in zip(geometry.output, geometry.stride, strict=True)
    ]
    return y[(slice(None), *inside)]


def _product_with_conjugate(a: jax.Array, b: jax.Array, spec: ConvSpec) -> jax.Array:
    """a (N, ..., C_in) times the conjugate of b (..., C_in, C_out), summed over C_in, by real products.

    XLA's CPU compiler of jaxlib 0.10.2 aborts on some complex products ("Invalid binary instruction opcode map").
    """

    def product(left: jax.Array, right: jax.Array) -> jax.Array:
        return jnp.einsum("n...c,...co->n...o", left, right, precision=spec.precision)

    (a_real, a_imag), (b_real, b_imag) = (a.real, a.imag), (b.real, b.imag)
    real = product(a_real, b_real) + product(a_imag, b_imag)
    return jax.lax.complex(real, product(a_imag, b_real) - product(a_real, b_imag))


METHOD = Method("fft", _convolve, transposed_in_x(_convolve), transposed_in_w(_convolve), _refuses)
