"""The convolutional layer: its settings reach conv2d, unconnected weights stay zero, and invalid settings raise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import integers

from cnnjax import connections as tables
from cnnjax import reference
from cnnjax.errors import ArgumentTypeError, ArgumentValueError
from cnnjax.init import LeCunUniform
from cnnjax.layers import Conv2D

KEY = jax.random.key(0)


def test_a_conv_layer_hands_every_setting_on():
    x = integers((1, 7, 8, 4), "x")
    how = {"stride": (2, 1), "padding": "CIRCULAR", "dilation": (1, 2)}
    layer = Conv2D(6, (3, 2), groups=2, activation=lambda y: 2 * y, **how)
    params = {"w": integers((3, 2, 2, 6), "w"), "b": integers((6,), "b")}
    exact = 2 * reference.convolve(x, params["w"], params["b"], groups=2, **how)
    np.testing.assert_array_equal(layer.apply(params, x), exact)


def test_weights_of_unconnected_pairs_start_at_zero_and_the_others_have_their_fan_in():
    table = tables.from_rows([[0], [], [0, 1]], 2)
    layer = Conv2D(3, 20, connections=table, weight_init=LeCunUniform())
    w = layer.init(KEY, (20, 20, 2), jnp.float64)["w"]
    np.testing.assert_array_equal(np.any(w != 0, axis=(0, 1)), table.matrix)
    for o, fan in ((0, 400), (2, 800)):
        largest = float(jnp.abs(w[..., o]).max())
        assert 0.95 * 2.4 / fan < largest <= 2.4 / fan


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Conv2D(0, 3), ArgumentValueError, "Conv2D: `maps` is 0"),
        (lambda: Conv2D(2.0, 3), ArgumentTypeError, "Conv2D: `maps` is 2.0"),
        (lambda: Conv2D(2, 0), ArgumentValueError, "Conv2D: `kernel` is 0"),
        (lambda: Conv2D(2, (3, 3, 3)), ArgumentValueError, r"`kernel` is \(3, 3, 3\)"),
        (lambda: Conv2D(2, 3, groups=True), ArgumentTypeError, "`groups` is True"),
        (
            lambda: Conv2D(2, 3, activation="tahn"),
            ArgumentValueError,
            "`activation` is 'tahn'; expected one of identity, scaled",
        ),
        (
            lambda: Conv2D(2, 3, connections=np.ones((2, 2), bool)),
            ArgumentTypeError,
            "expected a ConnectionTable or None",
        ),
        (lambda: Conv2D(4, 3, groups=2, connections=tables.full(4, 4)), ArgumentValueError, "together with groups=2"),
        (
            lambda: Conv2D(8, 3, groups=8).output_shape((9, 9, 4)),
            ArgumentValueError,
            "`groups` is 8; expected a divisor of both C_in = 4",
        ),
        (
            lambda: Conv2D(4, 3, connections=tables.full(3, 4)).output_shape((9, 9, 2)),
            ArgumentValueError,
            r"a table of shape \(3, 4\); expected \(C_in, maps\) = \(2, 4\)",
        ),
        (lambda: Conv2D(4, 3, stride=0).output_shape((9, 9, 2)), ArgumentValueError, "`stride` is 0"),
        (lambda: Conv2D(4, 3, padding="same").output_shape((9, 9, 2)), ArgumentValueError, 'write "SAME"'),
        (lambda: Conv2D(4, 5).output_shape((4, 9, 2)), ArgumentValueError, "a kernel of .* at most 4"),
        (
            lambda: Conv2D(4, 5).output_shape((100,)),
            ArgumentValueError,
            r"`shape` is \(100,\); expected the axes \(H, W, C\)",
        ),
    ],
)
def test_a_layer_that_cannot_be_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
