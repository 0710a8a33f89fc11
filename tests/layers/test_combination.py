"""Sums, products and concatenations of volumes."""

import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal

from cnnjax.errors import ArgumentValueError
from cnnjax.layers import Add, Concatenate, Counts, Layer, Multiply

A, B = (jnp.asarray(normal((2, 3, 4, 5), name)) for name in "ab")
SCALE = jnp.asarray(normal((2, 1, 1, 5), "scale"))


@pytest.mark.parametrize(
    ("layer", "volumes", "expected"),
    [
        (Add(), (A, B, A), A + B + A),
        (Add(activation="relu"), (A, B), jnp.maximum(A + B, 0)),
        (Multiply(), (A, B), A * B),
        (Multiply(), (A, SCALE), np.asarray(A) * np.asarray(SCALE)),
        (Concatenate(), (A, B[..., :2]), np.concatenate([A, B[..., :2]], axis=-1)),
    ],
)
def test_volumes_are_combined_as_the_formula_says(layer, volumes, expected):
    assert isinstance(layer, Layer)
    y = layer.apply({}, volumes)
    np.testing.assert_array_equal(y, expected)
    shapes = tuple(volume.shape[1:] for volume in volumes)
    assert layer.output_shape(shapes) == y.shape[1:]
    assert layer.counts(shapes) == Counts()
    assert layer.geometry(shapes) is None


@pytest.mark.parametrize(
    ("layer", "shapes", "words"),
    [
        (Add(), ((3, 4, 5), (3, 4, 6)), r"Add: `shape` is of inputs \(3, 4, 5\), \(3, 4, 6\); expected the same"),
        (Multiply(), ((1, 1, 5), (3, 4, 5)), r"pass the volume first"),
        (Multiply(), ((3, 4, 5), (3, 1, 5)), r"expected \(3, 4, 5\) and the same shape, or \(1, 1, 5\)"),
        (Multiply(), ((3, 4, 5), (1, 1, 1)), r"or \(1, 1, 5\)"),
        (Multiply(), ((3, 4, 5),) * 3, "Multiply: `shape`"),
        (Concatenate(), ((3, 4, 5), (4, 3, 5)), "the same height and width"),
    ],
)
def test_volumes_that_do_not_fit_together_are_refused(layer, shapes, words):
    with pytest.raises(ArgumentValueError, match=words):
        layer.output_shape(shapes)
    with pytest.raises(ArgumentValueError, match=words):
        layer.apply({}, tuple(jnp.zeros((2, *shape)) for shape in shapes))
