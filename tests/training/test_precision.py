"""Networks compute in 16 bits with weights in 32; their gradient is correct in each; scaling saves small gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import cnnjax
from cnnjax.errors import DivergedError
from cnnjax.layers import RBF, BatchNorm, Conv2D, Dense, Dropout, Input, Network
from cnnjax.losses import map_loss
from cnnjax.training import fit
from cnnjax.training.precision import scale_loss, with_compute_dtype

DTYPES = ("bfloat16", "float16")


@pytest.fixture(autouse=True)
def numerics_of_a_user():
    """32 bits; and optax multiplies weak floats with integer step counts, which strict promotion refuses."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


CODES = tuple(map(tuple, np.random.default_rng(0).choice([-1, 1], (3, 5)).tolist()))
SMALL = Network(
    "small",
    Input((8, 8, 1)),
    (("c1", Conv2D(3, 5, activation="scaled_tanh")), ("f6", Dense(5, activation="scaled_tanh")), ("out", RBF(CODES))),
)


def case(dtype):
    network = with_compute_dtype(SMALL, dtype)
    return network, network.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (2, 8, 8, 1)), jnp.arange(2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_computes_in_the_dtype_and_gives_back_float32(dtype):
    network, params, x, labels = case(dtype)
    loss, gradient = jax.value_and_grad(lambda p: map_loss(network.apply(p, x), labels))(params)
    assert {a.dtype for a in jax.tree.leaves((loss, gradient))} == {jnp.dtype("float32")}
    f6 = network.volumes(params, x)["f6"]
    np.testing.assert_array_equal(f6, f6.astype(dtype).astype(jnp.float32))
    exact = SMALL.volumes(params, x)["f6"]
    np.testing.assert_allclose(f6, exact, atol=40 * float(jnp.finfo(dtype).eps) * float(abs(exact).max()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_its_gradient_is_right(dtype):
    network, params, x, labels = case(dtype)
    assert cnnjax.check_grads(lambda p: map_loss(network.apply(p, x), labels), (params,), modes=("rev",)).ok


def test_a_small_gradient_survives_in_float16_only_if_the_loss_is_scaled():
    network, params, x, labels = case("float16")
    tiny = lambda scores, labels: 1e-8 * map_loss(scores, labels)  # noqa: E731
    kept = lambda loss: jax.grad(lambda p: loss(network.apply(p, x), labels))(params)["f6"]["b"]  # noqa: E731
    assert not kept(tiny).any()
    loss, optimizer = scale_loss(tiny, optax.sgd(1.0), scale=2.0**20)
    scaled = kept(loss)
    assert scaled.all()
    update = optimizer.update(scaled, optimizer.init(scaled))[0]
    exact = jax.grad(lambda p: tiny(SMALL.apply(p, x), labels))(params)["f6"]["b"]
    np.testing.assert_allclose(update, -exact, rtol=0.02, atol=1e-10)


def test_a_step_that_overflows_changes_nothing():
    _, optimizer = scale_loss(map_loss, optax.adam(0.1))
    params = jnp.ones(2)
    state = optimizer.init(params)
    updates, state = optimizer.update(jnp.array([1.0, jnp.inf]), state, params)
    assert not updates.any()
    updates, _ = optimizer.update(jnp.array([1.0, 1.0]), state, params)
    np.testing.assert_allclose(updates, [-0.1, -0.1], rtol=1e-4)


def test_the_value_of_a_scaled_loss_is_what_it_was():
    network, params, x, labels = case("float16")
    scores = network.apply(params, x)
    loss, _ = scale_loss(map_loss, optax.sgd(1.0))
    value, gradient = jax.value_and_grad(loss)(scores, labels)
    exact, unscaled = jax.value_and_grad(map_loss)(scores, labels)
    assert value == exact
    np.testing.assert_array_equal(gradient, 1024 * unscaled)


def test_a_run_goes_on_after_a_step_that_overflows_and_ends_when_the_loss_does():
    images, labels = np.zeros((4, 8, 8), np.uint8), np.arange(4) % 3
    run = lambda loss, optimizer: list(  # noqa: E731
        fit(SMALL, images, labels, loss=loss, optimizer=optimizer, epochs=2, batch_size=2)
    )
    overflowing, skipping = scale_loss(map_loss, optax.sgd(0.01), scale=1e38)
    first, second = run(overflowing, skipping)
    start = SMALL.init(jax.random.split(jax.random.key(0))[0])
    jax.tree.map(np.testing.assert_array_equal, second.state.params, start)
    assert np.isfinite(first.loss)
    with pytest.raises(DivergedError, match="the gradient of"):
        run(overflowing, optax.sgd(0.01))
    with pytest.raises(DivergedError, match="the loss"):
        run(lambda scores, labels: jnp.inf * map_loss(scores, labels), skipping)


def test_mistakes_are_named():
    with pytest.raises(TypeError, match=r"`dtype` is .*expected a floating dtype"):
        with_compute_dtype(SMALL, "int8")
    with pytest.raises(ValueError, match="`scale` is 0; expected a positive number"):
        scale_loss(map_loss, optax.sgd(1.0), scale=0)


def test_running_statistics_are_kept_in_float32():
    """A batch moves them by a tenth, which in 16 bits would be lost once they are near their end."""
    layers = {"n": BatchNorm(momentum=0.001), "drop": Dropout(0.5), "out": Dense(3)}
    network = Network("normalised", Input((4, 4, 2)), layers)
    params = network.init(jax.random.key(0))
    x, key = jax.random.normal(jax.random.key(1), (8, 4, 4, 2)) + 3, jax.random.key(2)
    scores, fresh = with_compute_dtype(network, "bfloat16").apply_training(params, x, key)
    expected, exact = network.apply_training(params, x, key)
    assert scores.dtype == fresh["n"]["mean"].dtype == fresh["out"]["w"].dtype == jnp.float32
    np.testing.assert_allclose(fresh["n"]["var"], exact["n"]["var"], rtol=1e-5)
    np.testing.assert_allclose(fresh["n"]["mean"], exact["n"]["mean"], rtol=2e-3)
    np.testing.assert_array_equal(fresh["out"]["w"], params["out"]["w"])
    np.testing.assert_allclose(scores, expected, atol=0.05)
    assert not np.array_equal(scores, expected)
    scores = with_compute_dtype(network, "bfloat16").apply(params, x)
    np.testing.assert_allclose(scores, network.apply(params, x), rtol=0.05, atol=0.05)
