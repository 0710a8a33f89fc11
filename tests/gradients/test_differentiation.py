"""The derivatives that JAX computes, in each mode."""

import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.gradients.differentiation import MODES, conjugate, differentiate

X, PROBE = np.array([0.3, -1.2]), np.array([1.0, 2.0])


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_derivative_and_the_value(mode):
    derivative, value = differentiate(mode, jnp.sin, X, PROBE)
    np.testing.assert_allclose(derivative, np.cos(X) * PROBE, rtol=1e-15)
    np.testing.assert_allclose(value, np.sin(X), rtol=1e-15)


def test_only_complex_arrays_are_conjugated():
    real, number = conjugate([jnp.ones(2), jnp.array([1 + 2j])])
    assert real.dtype == np.float64
    assert number[0] == 1 - 2j
