"""The LeNet of the deeplearning.net tutorial."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal, parameters_of

import cnnjax
from cnnjax.models import lenet_tutorial

NETWORK = lenet_tutorial()


@functools.cache
def init(seed, dtype=jnp.float32):
    return jax.jit(lambda key: NETWORK.init(key, dtype))(jax.random.key(seed))


def test_it_has_the_sizes_and_parameters_of_the_tutorial():
    table = cnnjax.summary(NETWORK)
    assert NETWORK.shapes() == {
        "input": (28, 28, 1), "c1": (24, 24, 20), "s2": (12, 12, 20), "c3": (8, 8, 50), "s4": (4, 4, 50),
        "hidden": (500,), "output": (10,),
    }  # fmt: skip
    assert [row.num_parameters for row in table.rows] == [520, 0, 25_050, 0, 400_500, 5_010]
    assert table.num_parameters == 431_080
    assert sum(value.size for value in jax.tree.leaves(jax.eval_shape(NETWORK.init, jax.random.key(0)))) == 431_080


@pytest.mark.parametrize(("layer", "bound"), [("c1", 0.2), ("c3", 0.085960), ("hidden", 0.067937)])
def test_weights_start_within_the_bounds_of_the_tutorial(layer, bound):
    params = init(0, jnp.float64)[layer]
    largest = float(jnp.abs(params["w"]).max())
    assert bound * (1 - 20 / params["w"].size) <= largest <= bound + 5e-7  # the printed bound is rounded
    np.testing.assert_array_equal(params["b"], np.zeros(params["b"].shape))


def test_the_softmax_starts_at_zero_so_all_scores_are_equal():
    params = init(0, jnp.float64)
    np.testing.assert_array_equal(params["output"]["w"], np.zeros((500, 10)))
    np.testing.assert_array_equal(NETWORK.apply(params, jnp.ones((28, 28, 1))), np.zeros(10))


def test_bias_and_activation_after_the_pool_as_in_the_tutorial_are_the_same_function():
    params = parameters_of(NETWORK, scale=0.1)
    x = jnp.asarray(normal((2, 28, 28, 1), "images"))
    y = x
    for layer in ("c1", "c3"):
        p = params[layer]
        pooled = cnnjax.max_pool2d(cnnjax.conv2d(y, p["w"]), 2)
        y = jnp.tanh(pooled + p["b"][None, None, None])
    hidden = jnp.tanh(y.reshape(2, 800) @ params["hidden"]["w"] + params["hidden"]["b"][None])
    scores = hidden @ params["output"]["w"] + params["output"]["b"][None]
    np.testing.assert_allclose(NETWORK.apply(params, x), scores, rtol=0, atol=1e-12 * float(jnp.abs(scores).max()))
    np.testing.assert_array_equal(NETWORK.classify(params, x), np.argmax(scores, -1))


def test_input_is_between_zero_and_one():
    prepared = NETWORK.input.prepare(np.full((1, 28, 28), 255, np.uint8))
    np.testing.assert_array_equal(prepared, np.ones((1, 28, 28, 1)))
