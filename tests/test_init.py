"""Initialisers: their bounds, their spread, and what they depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.init import Constant, GlorotUniform, HeNormal, LeCunUniform, Normal

KEY = jax.random.key(0)
ALL = [LeCunUniform(), GlorotUniform(), GlorotUniform(pool_area=4), HeNormal(), Normal(0.01), Constant(0.5)]


def assert_uniform(w, bound):
    """Every value within the bound; and with n of them, the largest so near to it and the mean so near to zero."""
    n = w.size
    largest = float(jnp.max(jnp.abs(w)))
    assert largest <= bound
    assert largest >= bound * (1 - 20 / n)  # missed with probability e^-20
    assert abs(float(jnp.mean(w))) <= 6 * bound / np.sqrt(3 * n)
    assert abs(float(jnp.std(w)) * np.sqrt(3) / bound - 1) <= 6 / np.sqrt(n)


@pytest.mark.parametrize(
    ("fan_in", "bound"), [(25, 0.096), (4, 0.6), (75, 0.032), (100, 0.024), (150, 0.016), (400, 0.006), (120, 0.02)]
)
def test_the_rule_of_1998_has_the_bounds_of_the_paper(fan_in, bound):
    assert 2.4 / fan_in == pytest.approx(bound, rel=1e-12)
    assert_uniform(LeCunUniform()(KEY, (100, 200), fan_in, 1, jnp.float64), 2.4 / fan_in)


def test_its_standard_deviation_is_that_of_the_paper():
    w = LeCunUniform()(KEY, (400, 500), 1, 1, jnp.float64)
    assert abs(float(w.std()) - 1.38564) < 0.01


@pytest.mark.parametrize(
    ("fan_in", "fan_out", "area", "bound"),
    [(25, 500, 4, 0.2), (500, 1250, 4, 0.085960), (800, 500, 1, 0.067937)],
)
def test_the_rule_of_glorot_has_the_bounds_of_the_tutorial(fan_in, fan_out, area, bound):
    w = GlorotUniform(pool_area=area)(KEY, (100, 200), fan_in, fan_out, jnp.float64)
    exact = np.sqrt(6 / (fan_in + fan_out // area))
    assert round(float(exact), 6) == bound
    assert_uniform(w, float(exact))


def test_a_given_deviation_does_not_depend_on_the_fans():
    w = Normal(0.01)(KEY, (200, 300), 50, 1, jnp.float64)
    np.testing.assert_array_equal(w, Normal(0.01)(KEY, (200, 300), 7, 9, jnp.float64))
    assert abs(float(w.std()) / 0.01 - 1) < 0.02
    assert abs(float(w.mean())) < 5 * 0.01 / np.sqrt(w.size)


def test_the_rule_of_he_is_normal():
    w = HeNormal()(KEY, (200, 300), 50, 1, jnp.float64)
    deviation = 0.2
    assert abs(float(w.std()) / deviation - 1) <= 6 / np.sqrt(2 * w.size)
    assert abs(float(w.mean())) <= 6 * deviation / np.sqrt(w.size)
    within_one = float(jnp.mean(jnp.abs(w) < deviation))
    assert abs(within_one - 0.6827) <= 6 * np.sqrt(0.6827 * 0.3173 / w.size)


@pytest.mark.parametrize("initialiser", [LeCunUniform(), GlorotUniform(), HeNormal()], ids=repr)
def test_each_output_map_has_the_spread_of_its_own_fan_in(initialiser):
    fans = np.array([10, 1000])
    both = initialiser(KEY, (5, 5, 40, 2), fans, 1, jnp.float64)
    for o, fan in enumerate(fans):
        one = initialiser(KEY, (5, 5, 40, 2), int(fan), 1, jnp.float64)
        np.testing.assert_array_equal(both[..., o], one[..., o])


@pytest.mark.parametrize("initialiser", ALL, ids=repr)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_shape_and_dtype_are_what_is_asked_for(initialiser, dtype):
    w = initialiser(KEY, (3, 4), 2, 3, jnp.dtype(dtype))
    assert w.shape == (3, 4)
    assert w.dtype == dtype


@pytest.mark.parametrize("initialiser", ALL, ids=repr)
def test_initialisers_are_values_and_depend_on_the_key_alone(initialiser):
    assert initialiser == type(initialiser)(**vars(initialiser))
    assert hash(initialiser) == hash(type(initialiser)(**vars(initialiser)))
    first, again, other = (initialiser(k, (5,), 2, 3, jnp.float32) for k in (KEY, KEY, jax.random.key(1)))
    np.testing.assert_array_equal(first, again)
    assert isinstance(initialiser, Constant) or not np.array_equal(first, other)


def test_a_constant_is_constant():
    np.testing.assert_array_equal(Constant()(KEY, (2, 2), 1, 1, jnp.float32), np.zeros((2, 2)))
    np.testing.assert_array_equal(Constant(1.5)(KEY, (3,), 1, 1, jnp.float32), [1.5] * 3)
