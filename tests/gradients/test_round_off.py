"""The measured round-off is that of the computation: not much less, and not much more."""

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.gradients.programs import Program
from cnnjax.gradients.round_off import noise_by_differences
from cnnjax.gradients.strategies import STRATEGIES

EPSILON = np.finfo(np.float64).eps


def noise(f, x):
    return Program(f, (len(x),), STRATEGIES[0]).noise(np.asarray(x))


def test_a_single_operation_has_the_noise_of_one_rounding():
    x = np.array([0.3, 1.0, 2.0])
    found = noise(jnp.exp, x)
    assert (found >= 0.5 * EPSILON * np.exp(x)).all()
    assert (found <= 4 * EPSILON * np.exp(x)).all()


def test_a_cancellation_has_the_noise_of_its_largest_term():
    (found,) = noise(lambda x: (x**2 + 1e12) - 1e12, [0.7])
    assert 1e-5 < found < 1e-3


def test_what_rounds_nothing_has_no_noise():
    np.testing.assert_array_equal(noise(lambda x: jnp.maximum(-x, 0.0)[::-1], [0.3, -1.0]), [0.0, 0.0])


def test_a_chaotic_function_has_no_digit():
    assert np.isinf(noise(lambda x: jax.lax.fori_loop(0, 80, lambda i, c: 3.99 * c * (1 - c), x), [0.3])).all()


def test_differences_find_the_noise_of_a_function_that_can_only_be_called():
    x = np.array([0.3, 1.0])
    found = noise_by_differences(lambda x: (x**2 + 1e6) - 1e6, EPSILON, (x,))
    assert ((found > 1e-11) & (found < 1e-9)).all()
    assert (noise_by_differences(np.exp, EPSILON, (x,)) < 1e-14).all()
