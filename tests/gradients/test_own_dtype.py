"""A rule has to work in the function's own dtype, at every order, and what that dtype cannot hold is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import failed_checks, ruled

from cnnjax.gradients import check_grads


@pytest.mark.usefixtures("float32_world")
def test_a_sampler_of_gamma_variates_has_to_be_finite():
    softplus = ruled(jax.nn.softplus, lambda r, y: (y * jnp.exp(r[0]) / (1 + jnp.exp(r[0])),))  # overflows beyond 88

    def f(a):
        return softplus(100 + jax.random.gamma(jax.random.key(0), a))

    assert failed_checks(f, (np.float32(2.4),), modes="rev") == {"own dtype"}


@pytest.mark.usefixtures("float32_world")
def test_the_second_order_has_to_be_finite():
    def decay(slope):
        f = jax.custom_jvp(lambda x: -jnp.exp(-x))
        f.defjvp(lambda p, t: (f(*p), t[0] * slope(p[0])))
        return f

    def root(x):  # of a number that is zero in float16
        return jnp.sqrt(jnp.exp(-2 * x))

    x = np.array([10.0, 1.0], np.float16)
    assert check_grads(decay(root), (x,), 1, modes="rev").ok
    assert failed_checks(decay(root), (x,), order=2, modes="rev") == {"own dtype"}
    assert check_grads(decay(lambda x: jnp.exp(-x)), (x,), 2, modes="rev").ok


@pytest.mark.usefixtures("float32_world")
def test_a_derivative_without_a_correct_digit_is_named():
    report = check_grads(jnp.tanh, (np.array([20.0, 0.5], np.float32),), 2, modes="rev")
    assert report.ok
    assert not [why for what, why in report.skipped if "round-off" in why]
    report = check_grads(jnp.tanh, (np.array([12.0], np.float32),), 2, modes="rev")
    assert {what for what, why in report.skipped if "round-off exceeds" in why} >= {"own dtype (rev), order 2"}
