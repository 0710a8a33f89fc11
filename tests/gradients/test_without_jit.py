"""The rules as their user runs them: each check catches the rule that fails it, or is listed as undecided."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import X, failed_checks, right, sine

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads


def test_the_second_call():
    calls = itertools.count()
    assert "repetition" in failed_checks(sine(lambda x, y: right(x, y) * (1 + next(calls) % 2)))


def test_residuals_that_the_next_call_overwrites():
    left = {}

    def forward(x):
        left["x"] = x
        return jnp.sin(x), None

    f = jax.custom_vjp(jnp.sin)
    f.defvjp(forward, lambda _, y: (right(left["x"], y),))
    assert failed_checks(f) == {"repetition"}


@pytest.mark.parametrize("traced", [True, False])
def test_jit_against_eager(traced):
    def bwd(x, y):
        return right(x, y) * (2.0 if isinstance(x, jax.core.Tracer) == traced else 1.0)

    assert "jit equals eager" in failed_checks(sine(bwd))


def test_the_value_of_the_forward_rule():
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x) + 1e-3, x), lambda x, y: (right(x, y),))
    assert failed_checks(f) == {"value"}


def test_digits_lost_in_the_rule():
    broken = failed_checks(sine(lambda x, y: right(x, y).astype(jnp.float16).astype(y.dtype)))
    assert broken & {"own dtype", "jit equals eager"}


@pytest.mark.usefixtures("float32_world")
def test_an_overflow_in_the_function_s_own_dtype():
    def bwd(x, y):
        return y * jnp.exp(x) / (1 + jnp.exp(x))

    f = jax.custom_vjp(lambda x: jnp.logaddexp(x, 0.0))
    f.defvjp(lambda x: (jnp.logaddexp(x, 0.0), x), lambda x, y: (bwd(x, y),))
    assert failed_checks(f, (np.array([1.0, 200.0], np.float32),)) == {"own dtype"}


def test_a_rule_that_raises_in_the_function_s_own_dtype_is_wrong():
    def bwd(x, y):
        if x.dtype == np.float32:
            raise TypeError("float64 only")
        return right(x, y)

    with pytest.raises(GradientError, match="in the function's own dtype, without jit: TypeError: float64 only"):
        check_grads(sine(bwd), (X,))


@pytest.mark.usefixtures("float32_world")
def test_what_underflows_in_its_own_dtype_is_not_lost():
    assert check_grads(jax.nn.sigmoid, (np.array([-90.0, 90.0], np.float32),)).ok


@pytest.mark.usefixtures("float32_world")
def test_what_takes_more_than_there_is_time_for_is_listed():
    """Round-off decides whether the sum is right in float32, and to measure it takes time."""
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)

    def f(x):
        return jnp.sin(1e3 * jnp.cumsum(x)).sum()

    names = {"jit equals eager (rev)", "own dtype (rev)"}
    report = check_grads(f, (x,), modes="rev", seconds=1e-6)
    assert names <= {what for what, why in report.skipped if "time was up" in why}
    report = check_grads(f, (x,), modes="rev")
    assert names <= {check.name for check in report.checks}
