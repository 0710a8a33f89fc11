"""The pixels that a kernel reads: padding and views, against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from cases import integers, normal, product

from cnnjax._core.shapes import PADDINGS, conv_geometry
from cnnjax._core.windows import accumulation_dtype, fold_boundary, pad_boundary, pad_constant, tap_views


@pytest.mark.parametrize(("padding", "mode"), [("CIRCULAR", "wrap"), ("EDGE", "edge"), ("REFLECT", "reflect")])
def test_a_boundary_that_is_not_zero_is_written_out(padding, mode):
    x = normal((2, 5, 6, 3), "boundary")
    geometry = conv_geometry("test", (5, 6), (3, 4), padding=padding)
    padded, left = pad_boundary(jnp.asarray(x), geometry)
    np.testing.assert_array_equal(padded, np.pad(x, ((0, 0), *geometry.pads, (0, 0)), mode=mode))
    assert left == geometry.after_padding()


@pytest.mark.parametrize("dtype", ["float64", "int8", "complex64"])
@pytest.mark.parametrize("kernel", [(1, 4), (3, 4), (4, 9)])
@pytest.mark.parametrize("padding", ["CIRCULAR", "EDGE", "REFLECT"])
def test_folding_is_the_adjoint_of_padding(padding, kernel, dtype):
    size = (5, 6)
    geometry = conv_geometry("test", size, kernel, padding=padding, dilation=(1, 2) if padding != "REFLECT" else 1)
    x, y = (integers((2, *n, 3), seed).astype(dtype) for n, seed in ((size, "x"), (geometry.padded, "y")))
    folded = fold_boundary(jnp.asarray(y), geometry)
    assert folded.shape == x.shape
    assert folded.dtype == dtype
    padded, _ = pad_boundary(jnp.asarray(x), geometry)
    assert np.sum(np.asarray(padded, complex) * y) == np.sum(np.asarray(folded, complex) * x)
    assert fold_boundary(jnp.asarray(y[:0]), geometry).shape == (0, *size, 3)


@pytest.mark.parametrize("padding", ["VALID", "SAME", ((1, 0), (2, 1))])
def test_zeros_are_left_to_the_method(padding):
    x = jnp.asarray(normal((2, 5, 6, 3), "zeros"))
    geometry = conv_geometry("test", (5, 6), (3, 4), padding=padding)
    same, left = pad_boundary(x, geometry)
    assert same is x
    assert left is geometry


@pytest.mark.parametrize("value", [0.0, -np.inf])
def test_a_constant_lies_around_the_image(value):
    geometry = conv_geometry("test", (2, 3), (2, 2), padding=((1, 0), (0, 2)))
    padded = pad_constant(jnp.ones((1, 2, 3, 1)), geometry, value)
    assert padded.shape == (1, *geometry.padded, 1)
    np.testing.assert_array_equal(padded[0, 1:, :3], np.ones((2, 3, 1)))
    assert np.all(padded[0, 0] == value)
    assert np.all(padded[0, :, 3:] == value)


@pytest.mark.parametrize("where", product(stride=[1, (2, 3)], dilation=[1, (2, 1)], padding=["VALID", 2]), ids=str)
def test_the_view_under_a_tap_holds_the_pixel_that_it_reads_at_every_position(where):
    x = normal((2, 7, 8, 2), "views")
    geometry = conv_geometry("test", (7, 8), (3, 2), **where)
    padded = np.pad(x, ((0, 0), *geometry.pads, (0, 0)))
    views = list(tap_views(pad_constant(jnp.asarray(x), geometry), geometry))
    assert tuple(tap for tap, _ in views) == geometry.taps
    for (u, v), view in views:
        assert view.shape == (2, *geometry.output, 2)
        for i, j in np.ndindex(*geometry.output):
            row = i * geometry.stride[0] + u * geometry.dilation[0]
            column = j * geometry.stride[1] + v * geometry.dilation[1]
            np.testing.assert_array_equal(view[:, i, j], padded[:, row, column])


@pytest.mark.parametrize("padding", PADDINGS)
def test_padding_then_views_cover_every_named_padding(padding):
    geometry = conv_geometry("test", (5, 5), (3, 3), stride=2, padding=padding)
    x, left = pad_boundary(jnp.ones((1, 5, 5, 1)), geometry)
    assert all(view.shape == (1, *geometry.output, 1) for _, view in tap_views(pad_constant(x, left), left))


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        ("float16", "float32"),
        ("bfloat16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("complex64", "complex64"),
        ("int8", "int8"),
    ],
)
def test_16_bit_floating_products_are_summed_in_float32(dtype, wide):
    assert accumulation_dtype(jnp.dtype(dtype)) == wide
