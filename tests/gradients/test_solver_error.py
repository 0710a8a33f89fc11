"""An iteration that stops at a tolerance is compared up to its own error, which is measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads
from cnnjax.gradients.solver_error import change_by_more_steps, solver_error


def fixed_point(tolerance, factor=1.0):
    """The solution of y = cos(a y) up to a tolerance, with the rule of the implicit function."""

    @jax.custom_jvp
    def solve(a):
        def step(state):
            y, _ = state
            new = jnp.cos(a * y)
            return new, abs(new - y) > tolerance

        return jax.lax.while_loop(lambda state: state[1], step, (jnp.full_like(a, 0.5), True))[0]

    @solve.defjvp
    def rule(primals, tangents):
        (a,), (t,) = primals, tangents
        y = solve(a)
        return y, -factor * y * jnp.sin(a * y) / (1 + a * jnp.sin(a * y)) * t

    return solve


def test_the_error_of_a_solver_is_about_its_tolerance():
    solve = jax.jit(jax.vmap(fixed_point(1e-7)))
    (error,) = solver_error(lambda t: np.asarray(solve(0.8 + 0.5 * t))[:, None])
    assert 1e-8 < error < 1e-6


@pytest.mark.parametrize("f", [np.exp, lambda t: 1 / (1 + t**2), lambda t: np.sin(100 * t), np.zeros_like])
def test_a_smooth_function_has_none(f):
    assert solver_error(lambda t: f(t)[:, None])[0] < 1e-13


def test_where_nothing_is_finite_nothing_is_known():
    assert solver_error(lambda t: np.full((len(t), 2), np.nan)).tolist() == [0.0, 0.0]


def test_a_right_rule_is_accepted_and_the_error_named():
    report = check_grads(fixed_point(1e-7), (np.float64(0.8),))
    assert any("stops early" in text and "e-08" in text for text in report.warnings)


def test_a_wrong_rule_is_rejected():
    with pytest.raises(GradientError):
        check_grads(fixed_point(1e-7, factor=1.01), (np.float64(0.8),))


def test_an_iteration_that_has_converged_has_no_warning():
    assert not check_grads(fixed_point(1e-14), (np.float64(0.8),)).warnings


def minimum(tolerance, factor=1.0):
    """Where |y - a|^2 + (sum y)^2 / 2 + 0.1 sum y^4 is least, by slow descent, with the implicit function's rule."""

    def bowl(y, a):
        return jnp.sum((y - a) ** 2) + 0.5 * jnp.sum(y) ** 2 + 0.1 * jnp.sum(y**4)

    @jax.custom_jvp
    def solve(a):
        def step(state):
            y, _ = state
            new = y - 0.1 * jax.grad(bowl)(y, a)
            return new, jnp.max(abs(new - y)) > tolerance

        return jax.lax.while_loop(lambda state: state[1], step, (jnp.zeros_like(a), True))[0]

    @solve.defjvp
    def rule(primals, tangents):
        (a,), (t,) = primals, tangents
        y = solve(a)
        return y, factor * jnp.linalg.solve(jax.hessian(bowl)(y, a), 2 * t)

    return solve


@pytest.mark.parametrize("tolerance", [1e-5, 1e-6])
@pytest.mark.parametrize("seed", range(4))
def test_a_solver_that_converges_slowly_is_compared_with_its_limit(seed, tolerance):
    """It stops further from its limit than its results jump."""
    a = np.random.default_rng(seed).normal(size=3).astype(np.float32)
    report = check_grads(minimum(tolerance), (a,))
    assert any("stops early" in text for text in report.warnings)
    with pytest.raises(GradientError):
        check_grads(minimum(tolerance, factor=1.002), (a,))


def test_an_iteration_without_a_limit_has_no_error_known():
    random = iter(np.random.default_rng(0).normal(size=(2, 3)))
    assert change_by_more_steps(np.ones(3), lambda _: next(random)).tolist() == [0.0, 0.0, 0.0]
    assert change_by_more_steps(np.ones(2), lambda _: np.full(2, np.nan)).tolist() == [0.0, 0.0]


def test_a_loop_that_is_no_iteration_is_not_continued():
    """It ends at a time, not at a limit: more steps go past it."""

    def euler(rate):
        def step(state):
            t, y = state
            return t + 0.125, y - 0.125 * rate * y

        return jax.lax.while_loop(lambda state: state[0] < 1, step, (0.0, jnp.ones_like(rate)))[1]

    report = check_grads(euler, (np.float32(0.7),), modes=("fwd",))
    assert not report.warnings
