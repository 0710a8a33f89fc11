"""At a kink every convention is right, and nothing else is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import ruled, wrong_elements

from cnnjax.gradients import check_grads


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_every_convention_at_a_kink_is_right(value):
    f = ruled(jax.nn.relu, lambda r, y: (jnp.where(r[0] == 0, value * y, jnp.where(r[0] > 0, y, 0.0)),))
    report = check_grads(f, (np.array([0.0, 0.0, 1.0, -2.0]),))
    assert report.kinks


def test_many_kinks_at_once_are_conventions_too():
    w = np.random.default_rng(0).normal(size=(40, 30))
    f = ruled(lambda x: w @ jax.nn.relu(x), lambda r, y: (jnp.where(r[0] >= 0, 1.0, 0.0) * (w.T @ y),))
    assert check_grads(f, (np.zeros(30),)).ok


def test_among_tied_numbers_a_gradient_next_to_the_tie_is_a_convention():
    x = np.array([2.0, 2.0, 1.0, 3.0, 2.0])
    assert check_grads(jnp.median, (x,)).ok
    bad = ruled(lambda x: jnp.median(x), lambda r, y: (y * jnp.where(r[0] == 2.0, 1.0, 0.0),))
    assert wrong_elements(bad, x)


def test_a_smooth_function_has_no_such_conventions():
    f = ruled(lambda x: x**2, lambda r, y: (2.001 * r[0] * y,))
    assert wrong_elements(f, np.array([0.3, 1.0, 2.0]))
