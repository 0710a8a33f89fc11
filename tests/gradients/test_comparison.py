"""A computed derivative is compared with the bar that both sides deserve."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import ruled, wrong_elements
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnjax.gradients import check_grads
from cnnjax.gradients.checked_function import CheckedFunction
from cnnjax.gradients.comparison import Comparator
from cnnjax.gradients.finite_differences import FiniteDifferences
from cnnjax.gradients.leaves import Leaf
from cnnjax.gradients.strategies import STRATEGIES


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


def credits_every_tie(x):
    pool = ruled(
        lambda x: x.reshape(2, 2).max(1),
        lambda r, y: (((r[0].reshape(2, 2) == r[0].reshape(2, 2).max(1, keepdims=True)) * y[:, None]).reshape(4),),
    )
    return pool(x)


zero_at_zero = ruled(
    jax.nn.log_sigmoid, lambda r, y: (y * jnp.where(r[0] == 0, 0.0, jax.nn.sigmoid(-r[0])).astype(y.dtype),)
)
both = ruled(jnp.maximum, lambda r, y: (y * (r[0] >= r[1]), y * (r[1] >= r[0])))


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (lambda x: zero_at_zero(3 * x - 3), ([1.0],)),
        (lambda w, x: zero_at_zero(w @ x), ([1.0, 2.0], [2.0, -1.0])),
        (lambda x: zero_at_zero(x - x.mean()), ([1.0, 1.0, 1.0],)),
        (lambda x: credits_every_tie(jnp.tanh(x)), ([1.0, 1.0, 2.0, 3.0],)),
        (lambda w: credits_every_tie(jnp.convolve(jnp.ones(6), w, "valid")), ([0.3, 0.5, 0.2],)),
        (both, ([1.0, 2.0], [1.0, 3.0])),
        (lambda a, b: both(jnp.exp(a), jnp.exp(b)), ([1.0, 2.0], [1.0, 3.0])),
    ],
    ids=["affine", "dot product", "mean", "tanh", "convolution", "two arguments", "exp of two arguments"],
)
def test_a_tie_or_zero_behind_rounded_operations_is_no_round_off(f, args):
    assert wrong_elements(f, *map(np.array, args), modes="rev")


def test_a_right_rule_behind_a_tie_is_accepted():
    x = np.array([1.0, 1.0, 2.0, 3.0])
    assert check_grads(lambda x: jnp.tanh(x).reshape(2, 2).max(1), (x,), modes="rev").ok
    assert check_grads(lambda a, b: jnp.maximum(jnp.exp(a), jnp.exp(b)), (x, x[::-1]), modes="rev").ok


def test_a_function_that_jumps_when_it_is_perturbed_is_judged_by_its_differences():
    def f(x):  # the correction is for integers, and 2 * (x / 2) - x is no integer when perturbed
        return jnp.sin(x) + jnp.where(2 * (x / 2) - x == 0, 0.0, 1.0)

    x = np.array([0.3, 0.7])
    assert check_grads(f, (x,)).ok
    assert wrong_elements(ruled(f, lambda r, y: (0.0 * y,)), x)


def test_a_gradient_from_tangents_takes_the_memory_of_a_few():
    n = 4096
    function = CheckedFunction(lambda x: (x * x).sum()[None], np.arange(1.0, n + 1), STRATEGIES[0])
    leaf = Leaf("x", (n,), np.dtype(np.float64), 0)
    differences = FiniteDifferences(function.program, function.x, np.ones((2, n)))
    comparator = Comparator(function, differences, "fwd", np.ones(1), [leaf], [leaf], (0.0, 0.0))
    tracemalloc.start()
    np.testing.assert_allclose(comparator.computed_gradient(np.arange(len(function.x))), 2 * function.x)
    assert tracemalloc.get_traced_memory()[1] < n * n * 8 / 4
    tracemalloc.stop()
