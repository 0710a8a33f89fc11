"""Gamma variates by inversion have the gamma distribution, and the derivative of its quantile."""

import jax
import numpy as np
import pytest

from cnnjax.gradients.float64 import evaluate

KEYS = jax.random.split(jax.random.key(0), 400)


@pytest.mark.parametrize("shape", [0.3, 2.0, 30.0])
def test_the_variates_lie_where_the_distribution_says(shape):
    jaxpr = jax.make_jaxpr(lambda a: jax.vmap(lambda key: jax.random.gamma(key, a))(KEYS))(shape)
    (found,) = evaluate(jaxpr, [shape])
    ranks = np.sort(jax.scipy.special.gammainc(shape, found))  # uniform on [0.05, 0.95]
    np.testing.assert_allclose(ranks, 0.05 + 0.9 * (np.arange(400) + 0.5) / 400, atol=0.08)


def test_the_logarithm_is_that_of_the_variate():
    draws = [
        jax.make_jaxpr(lambda a, draw=draw: draw(KEYS[0], a))(2.0) for draw in (jax.random.gamma, jax.random.loggamma)
    ]
    plain, logarithm = (evaluate(jaxpr, [2.0])[0] for jaxpr in draws)
    assert np.log(plain) == pytest.approx(logarithm)
