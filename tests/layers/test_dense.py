"""Dense layers and radial basis functions."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import integers

import cnnjax
from cnnjax.errors import ArgumentTypeError, ArgumentValueError
from cnnjax.layers import RBF, Dense

CODES = ((1, -1, 1), (-1, 1, 1))


def test_a_dense_layer_on_a_volume_is_the_convolution_with_the_whole_input():
    x, w, b = integers((2, 3, 4, 5), "x"), integers((60, 7), "w"), integers((7,), "b")
    dense = Dense(7).apply({"w": w, "b": b}, jnp.asarray(x))
    np.testing.assert_array_equal(dense, cnnjax.conv2d(x, w.reshape(3, 4, 5, 7), b)[:, 0, 0])
    assert Dense(7).geometry((3, 4, 5)).kernel == (3, 4)
    assert Dense(7).geometry((60,)) is None


def test_no_kernel_of_xla_holds_two_dense_layers():
    network = cnnjax.Network(
        "pool and dense layers",
        cnnjax.layers.Input((14, 14, 16)),
        [
            ("pool", cnnjax.layers.MaxPool2D(2)),
            ("first", Dense(512, activation="relu")),
            ("second", Dense(512, activation="relu")),
            ("third", Dense(10)),
        ],
    )
    x = jnp.zeros((64, 14, 14, 16), "float32")
    program = jax.jit(network.apply).lower(network.init(jax.random.key(0)), x).compile().as_text()
    computations = re.split(r"\n(?=%|ENTRY)", program)
    products = [len(re.findall(r" dot\(", text)) for text in computations if text.startswith("%fused")]
    assert max(products, default=0) <= 1
    x, w = integers((2, 3), "x"), integers((3, 4), "w")
    for dtype in ("float16", "bfloat16", "float32", "complex64"):
        y = Dense(4, bias=False).apply({"w": jnp.asarray(w, dtype)}, jnp.asarray(x, dtype))
        assert y.dtype == dtype
        np.testing.assert_array_equal(np.asarray(y, "complex64"), x @ w)


def test_rbf_units_are_squared_distances():
    x = jnp.array([[1.0, 2.0, 3.0], [1.0, -1.0, 1.0]])
    for layer, params in ((RBF(CODES), {}), (RBF(CODES, trainable=True), {"w": jnp.array(CODES, float)})):
        np.testing.assert_array_equal(layer.apply(params, x), [[13, 9], [0, 8]])
    moved = RBF(CODES, trainable=True).apply({"w": jnp.array(CODES, float) + 1}, x)
    np.testing.assert_array_equal(moved, [[1 + 4 + 1, 1 + 0 + 1], [1 + 1 + 1, 1 + 9 + 1]])
    assert RBF(np.array(CODES)) == RBF(CODES)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Dense(2, activation=None), ArgumentTypeError, '`activation` is None; .* use "identity" for none'),
        (lambda: Dense(0), ArgumentValueError, "Dense: `units` is 0"),
        (lambda: RBF((1, 2)), ArgumentValueError, r"RBF: `codes` is of shape \(2,\)"),
        (lambda: RBF(CODES).output_shape((4,)), ArgumentValueError, "2 codes of 3 values; expected 4 values"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
