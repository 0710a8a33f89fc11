"""Each check catches the rule that fails it, where finite differences alone see nothing."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import X, failed_checks, right, sine

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads


def test_a_right_rule_passes_every_check():
    report = check_grads(sine(right), (X,))
    names = {check.name.split(" (")[0] for check in report.checks}
    assert names >= {"linearity", "repetition", "jit equals eager", "value", "own dtype", "vmap equals loop"}


@pytest.mark.parametrize(
    "bwd",
    [
        lambda x, y: jnp.clip(right(x, y), -100.0, 100.0),
        lambda x, y: jnp.where(abs(y) < 2e-3, 0.0, right(x, y)),
        lambda x, y: jnp.where(abs(y) < 1e-5, 0.0, right(x, y)),
        lambda x, y: right(x, jnp.clip(y, -1e5, 1e5)),
        lambda x, y: right(x, jnp.where((y**2).sum() < 1e-4, 0.0, y)),
    ],
)
def test_linearity(bwd):
    assert failed_checks(sine(bwd), modes="rev") == {"linearity"}


@pytest.mark.parametrize("seed", range(3, 6))
def test_sums_that_round_are_no_failure_of_linearity(seed):
    """The reverse rule of relu6 rounds nothing, so nothing but the sum of two cotangents could have."""
    assert check_grads(jax.nn.relu6, (np.array([0.0, 6.0, 3.0], np.float32),), seed=seed, modes="rev").ok


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


def test_adjointness():
    """A transpose that somebody wrote is the one thing that separates the two modes."""

    def f(x):
        def apply(r, x):
            return r * x

        return jax.custom_derivatives.linear_call(apply, lambda r, y: 1.001 * r * y, jnp.asarray(2.0, x.dtype), x)

    assert "adjointness" in failed_checks(f)


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
