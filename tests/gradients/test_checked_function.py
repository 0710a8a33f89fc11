"""The function under test: its derivative programs, and the strategy that is chosen for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.gradients import check_grads
from cnnjax.gradients.checked_function import (
    CheckedFunction,
    ModeUnavailableError,
    RuleRaisedError,
    choose_strategy,
)
from cnnjax.gradients.flat_function import flatten_function
from cnnjax.gradients.jaxprs import has_symbolic_zeros
from cnnjax.gradients.strategies import STRATEGIES

X = np.array([0.3, -1.2, 2.0])


def ruled(bwd):
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, y: (bwd(x, y),))
    return f


def under_test(f, x=X, strategy=STRATEGIES[0]):
    return CheckedFunction(f, x, strategy)


def test_derivatives_go_through_the_rule_and_the_builtin_gradient_does_not():
    function = under_test(ruled(lambda x, y: 7 * y))
    np.testing.assert_allclose(function.derivative_program("rev")(X, np.ones(3)), 7 * np.ones(3))
    np.testing.assert_allclose(function.builtin_gradient(X, np.ones(3)), np.cos(X), rtol=1e-14)
    assert function.derivative_program("rev") is function.derivative_program("rev")
    assert function.has_custom_rules
    assert not under_test(jnp.sin).has_custom_rules


def test_a_missing_mode_and_a_broken_rule_are_told_apart():
    function = under_test(ruled(lambda x, y: jnp.cos(x) * y))
    with pytest.raises(ModeUnavailableError):
        function.derivative_program("fwd")
    assert set(function.unavailable(("fwd", "rev"))) == {"fwd"}
    with pytest.raises(RuleRaisedError, match="ZeroDivisionError"):
        under_test(ruled(lambda x, y: 1 / 0)).derivative_program("rev")


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_a_derivative_is_a_function_of_the_point_and_the_probe(mode):
    probe = np.array([1.0, 2.0, 3.0])
    derivative = under_test(jnp.sin).derivative_function(mode, probe)
    assert (derivative.n, derivative.m) == (6, 3)
    np.testing.assert_allclose(derivative.program(np.concatenate([X, probe])), np.cos(X) * probe, rtol=1e-14)


def test_a_weighted_sum_of_the_outputs():
    weights, centre = np.array([1.0, 0.0, -2.0]), np.sin(X)
    program = under_test(jnp.sin).weighted_sum(weights, X, centre)
    np.testing.assert_allclose(program(2 * X), [weights @ (np.sin(2 * X) - centre)], rtol=1e-13)


def float32_only(x):
    if x.dtype != np.float32:
        raise TypeError("float32 only")
    return jnp.sin(x)


@pytest.mark.usefixtures("float32_world")
@pytest.mark.parametrize(
    ("f", "strategy"),
    [
        (jnp.sin, 0),
        (float32_only, 1),
        (lambda x: jnp.sin(x) if x[0] > 0 else x, 2),
        (lambda x: float32_only(x) if x[0] > 0 else x, 3),
    ],
    ids=["any dtype", "float32 only", "a branch on values", "both"],
)
def test_the_first_strategy_that_works_is_chosen_and_the_others_have_a_reason(f, strategy):
    flat = flatten_function(f, (X.astype(np.float32),))
    function, unavailable, reasons = choose_strategy(flat, ("rev",), frozenset())
    assert function.strategy == STRATEGIES[strategy]
    assert len(reasons) == strategy
    assert not unavailable
    assert function.contains(has_symbolic_zeros) is False


def test_a_rule_that_raises_under_every_strategy():
    flat = flatten_function(ruled(lambda x, y: 1 / 0), (X,))
    with pytest.raises(RuleRaisedError):
        choose_strategy(flat, ("rev",), frozenset())


def test_a_rule_may_raise_for_a_cotangent_of_zero():
    """An iterative solver may break down there, and nobody asks for that derivative."""

    def solve(x, y):
        if not y.any():
            raise ValueError("nothing to solve")
        return y * np.cos(x)

    def backward(x, y):
        return jax.pure_callback(solve, jax.ShapeDtypeStruct(y.shape, y.dtype), x, y, vmap_method="sequential")

    report = check_grads(ruled(backward), (X,), modes="rev")
    assert "linearity (rev)" in [what for what, _ in report.skipped]
