"""A computed derivative is compared with the bar that both sides deserve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import ruled, wrong_elements
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnjax.gradients import check_grads


@settings(max_examples=3)
@given(st.floats(-9, 9), st.floats(-9, 9))
def test_right_stays_right_when_inputs_and_outputs_are_scaled(a, b):
    a, b = 10.0**a, 10.0**b
    x = np.random.default_rng(0).normal(size=5)
    assert check_grads(lambda x: b * jnp.tanh(x / a), (a * x,), modes="rev").ok
    bad = ruled(lambda x: b * jnp.tanh(x / a), lambda r, y: (b / a * (1 - jnp.tanh(r[0] / a)) * y,))
    assert wrong_elements(bad, a * x)


def test_a_limit_of_a_tolerance_is_the_callers():
    f = ruled(jnp.sin, lambda r, y: (1.01 * jnp.cos(r[0]) * y,))
    x = np.array([0.3, 0.7])
    assert wrong_elements(f, x)
    report = check_grads(f, (x,), rtol=0.1)
    assert report.worst <= 1


def test_a_loop_is_as_exact_as_its_stopping():
    def f(a, slope):
        find = jax.custom_jvp(
            lambda a: jax.lax.while_loop(lambda s: abs(s**2 - a) > 1e-4, lambda s: (s + a / s) / 2, 1.0 + 0 * a)
        )
        find.defjvp(lambda p, t: (find(*p), slope * t[0] / find(*p)))
        return find(a)

    assert check_grads(lambda a: f(a, 0.5), (np.float64(2.0),)).ok
    assert wrong_elements(lambda a: f(a, 0.51), np.float64(2.0))


def test_a_chaotic_function_is_not_judged_beyond_its_round_off():
    def f(x):
        return jax.lax.fori_loop(0, 50, lambda i, c: 3.99 * c * (1 - c), x)

    report = check_grads(f, (np.array([0.3, 0.61]),))
    assert sum(check.unresolved for check in report.checks) > 0
    assert "too uncertain to judge" in str(report)


@pytest.mark.usefixtures("float32_world")
def test_what_is_below_the_rounding_of_the_dtype_is_no_fault():
    f = ruled(jnp.sin, lambda r, y: (jnp.cos(r[0]) * y * (1 + 1e-8),))
    assert check_grads(f, (np.array([0.3, 0.7], np.float32),)).ok
    g = ruled(jnp.sin, lambda r, y: (jnp.cos(r[0]) * y * (1 + 1e-6),))
    assert wrong_elements(g, np.array([0.3, 0.7], np.float32))
