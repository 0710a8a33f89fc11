import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from cnnjax import CnnjaxError
from cnnjax.losses import map_loss, mle_loss

DISTANCES = np.random.default_rng(0).uniform(0.5, 60.0, (5, 10))
LABELS = np.array([0, 3, 9, 3, 1])


def paper_loss(distances, labels, rubbish):
    """Equation 9 as it is printed, in float64."""
    rows = [y[d] + np.log(np.exp(-rubbish) + np.exp(-y).sum()) for y, d in zip(distances, labels, strict=True)]
    return np.mean(rows)


@pytest.mark.parametrize("rubbish", [0.1, 1.0, 40.0])
def test_map_loss_is_equation_9(rubbish):
    loss = map_loss(jnp.asarray(DISTANCES), jnp.asarray(LABELS), rubbish=rubbish)
    np.testing.assert_allclose(loss, paper_loss(DISTANCES, LABELS, rubbish), rtol=1e-13)


def test_map_loss_is_stable_where_exp_of_the_distance_underflows():
    distances = jnp.full((1, 10), 300.0, jnp.float32)
    value, gradient = jax.value_and_grad(map_loss)(distances, jnp.array([2]))
    np.testing.assert_allclose(value, 299.0, rtol=1e-6)
    assert gradient[0, 2] == 1
    assert float(abs(gradient).sum()) == 1


@given(st.lists(st.floats(0, 1e4), min_size=10, max_size=10), st.integers(0, 9), st.floats(1e-3, 50))
def test_map_loss_is_positive(distances, label, rubbish):
    assert map_loss(jnp.array([distances]), jnp.array([label]), rubbish=rubbish) >= 0


def test_gradient_of_the_map_loss_is_one_minus_the_share_of_the_class():
    gradient = jax.grad(map_loss)(jnp.asarray(DISTANCES), jnp.asarray(LABELS))
    shares = special.softmax(np.concatenate([-DISTANCES, -np.ones((5, 1))], axis=1), axis=1)[:, :10]
    expected = (np.eye(10)[LABELS] - shares) / 5
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)
    numeric = optimize.approx_fprime(
        DISTANCES.ravel(), lambda y: float(map_loss(jnp.asarray(y.reshape(5, 10)), jnp.asarray(LABELS)))
    )
    np.testing.assert_allclose(np.ravel(gradient), numeric, atol=1e-6)


def test_a_larger_rubbish_constant_lowers_the_loss():
    losses = [map_loss(jnp.asarray(DISTANCES), jnp.asarray(LABELS), rubbish=j) for j in (0.5, 1.0, 2.0)]
    assert losses[0] > losses[1] > losses[2]


def test_mle_loss_is_the_mean_distance_of_the_right_class():
    loss = mle_loss(jnp.asarray(DISTANCES), jnp.asarray(LABELS))
    np.testing.assert_allclose(loss, DISTANCES[np.arange(5), LABELS].mean(), rtol=1e-14)


@pytest.mark.parametrize("loss", [map_loss, mle_loss])
@pytest.mark.parametrize(
    ("distances", "labels", "error", "words"),
    [
        (jnp.zeros(10), jnp.zeros(1, int), ValueError, ["`distances`", "(10,)", "N, classes"]),
        ([[1.0]], jnp.zeros(1, int), TypeError, ["`distances`", "a list", "jnp.asarray"]),
        (jnp.zeros((2, 10)), jnp.zeros(2), TypeError, ["`labels`", "float64", "integers"]),
        (jnp.zeros((2, 10)), [1, 2], TypeError, ["`labels`", "a list"]),
        (jnp.zeros((2, 10)), jnp.zeros((2, 10), int), ValueError, ["`labels`", "(2, 10)", "one-hot"]),
        (jnp.zeros((2, 10)), jnp.zeros(3, int), ValueError, ["`labels`", "(3,)", "as many labels"]),
    ],
)
def test_wrong_arguments_are_named(loss, distances, labels, error, words):
    with pytest.raises(error) as caught:
        loss(distances, labels)
    assert isinstance(caught.value, CnnjaxError)
    for word in (loss.__name__, *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("rubbish", [0, -1.0, float("nan"), "1"])
def test_the_rubbish_constant_must_be_positive(rubbish):
    with pytest.raises(ValueError, match=r"`rubbish` is .*; expected a positive number"):
        map_loss(jnp.zeros((1, 10)), jnp.zeros(1, int), rubbish=rubbish)
