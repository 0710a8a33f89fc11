"""What the judge sees where a plain comparison does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads


def ruled(f, bwd):
    g = jax.custom_vjp(f)
    g.defvjp(lambda *args: (f(*args), args), lambda args, y: tuple(bwd(args, y)))
    return g


def wrong_elements(f, *args, **options):
    with pytest.raises(GradientError) as caught:
        check_grads(f, args, **options)
    return [wrong.where for wrong in caught.value.report.wrong]


def test_a_tiny_term_hidden_by_a_huge_one_is_judged_by_jax_s_own_rules():
    cube = ruled(lambda x: (x**3).sum(), lambda r, y: (2 * r[0] ** 2 * y,))
    huge, tiny = 1e9 * np.array([1.0, 2.0]), 1e-9 * np.array([1.0, 3.0])
    assert any("args[1]" in w for w in wrong_elements(lambda a, b: (a**2).sum() + cube(b), huge, tiny))
    right = ruled(lambda x: (x**3).sum(), lambda r, y: (3 * r[0] ** 2 * y,))
    assert check_grads(lambda a, b: (a**2).sum() + right(b), (huge, tiny)).ok


def test_a_tiny_leaf_beside_a_huge_one_is_judged_by_differences():
    f = ruled(lambda a, b: (a**2, b**3), lambda r, y: (2 * r[0] * y[0], 3.001 * r[1] ** 2 * y[1]))
    found = wrong_elements(f, 1e6 * np.ones(3), 1e-6 * np.arange(1.0, 4.0))
    assert all(w.startswith("args[1][") and "own rules" not in w for w in found)


@settings(max_examples=4)
@given(st.integers(0, 59), st.floats(1.001, 3.0))
def test_any_single_wrong_element_is_named(at, factor):
    f = ruled(lambda x: jnp.sin(x).sum(), lambda r, y: ((jnp.cos(r[0]) * y).at[at].multiply(factor),))
    x = np.random.default_rng(0).normal(size=60)
    assert wrong_elements(f, x) == [f"args[0][{at}]"]


@settings(max_examples=3)
@given(st.floats(-9, 9), st.floats(-9, 9))
def test_right_stays_right_when_inputs_and_outputs_are_scaled(a, b):
    a, b = 10.0**a, 10.0**b
    x = np.random.default_rng(0).normal(size=5)
    assert check_grads(lambda x: b * jnp.tanh(x / a), (a * x,), modes="rev").ok
    bad = ruled(lambda x: b * jnp.tanh(x / a), lambda r, y: (b / a * (1 - jnp.tanh(r[0] / a)) * y,))
    assert wrong_elements(bad, a * x)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_every_convention_at_a_kink_is_right(value):
    f = ruled(jax.nn.relu, lambda r, y: (jnp.where(r[0] == 0, value * y, jnp.where(r[0] > 0, y, 0.0)),))
    report = check_grads(f, (np.array([0.0, 0.0, 1.0, -2.0]),))
    assert report.kinks


def test_many_kinks_at_once_are_conventions_too():
    w = np.random.default_rng(0).normal(size=(40, 30))
    f = ruled(lambda x: w @ jax.nn.relu(x), lambda r, y: (jnp.where(r[0] >= 0, 1.0, 0.0) * (w.T @ y),))
    assert check_grads(f, (np.zeros(30),)).ok


def test_a_limit_of_a_tolerance_is_the_callers():
    f = ruled(jnp.sin, lambda r, y: (1.01 * jnp.cos(r[0]) * y,))
    x = np.array([0.3, 0.7])
    assert wrong_elements(f, x)
    report = check_grads(f, (x,), rtol=0.1)
    assert report.worst <= 1


def test_the_structure_of_a_symmetric_matrix_is_kept_nearby():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    f = ruled(lambda a: jnp.linalg.slogdet((a + a.T) / 2)[1], lambda r, y: (y * jnp.linalg.inv(r[0]),))
    assert check_grads(f, (a,)).ok


def test_a_rule_that_raises_is_wrong():
    f = ruled(jnp.sin, lambda r, y: (jnp.zeros(7) * y,))
    with pytest.raises(GradientError, match="the rule runs"):
        check_grads(f, (np.ones(3),))


def test_no_mode_is_no_verification():
    def f(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    with pytest.raises(GradientError, match="some mode exists"):
        check_grads(f, (np.ones(3),))


def test_a_derivative_that_has_no_derivative_itself():
    def host(g, x):
        return jax.pure_callback(g, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    f = ruled(lambda x: host(np.sin, x), lambda r, y: (host(np.cos, r[0]) * y,))
    assert check_grads(f, (np.ones(3),), 1).ok
    with pytest.raises(GradientError, match="some mode exists"):
        check_grads(f, (np.ones(3),), 2)


def root(a, slope):
    """The square root by Newton's iteration, with the rule of the implicit function."""
    find = jax.custom_jvp(lambda a: jax.lax.fori_loop(0, 8, lambda i, s: (s + a / s) / 2, 1.0 + 0 * a))
    find.defjvp(lambda p, t: (find(*p), slope * t[0] / find(*p)))
    return find(a)


def test_an_implicit_rule_is_not_judged_where_its_iteration_does_not_converge():
    report = check_grads(lambda a: root(a, 0.5), (np.float64(2.0),))
    assert any("sign-flipped" in what and "converge" in why for what, why in report.skipped)
    assert wrong_elements(lambda a: root(a, 0.51), np.float64(2.0))


def test_a_loop_is_as_exact_as_its_stopping():
    def f(a, slope):
        find = jax.custom_jvp(
            lambda a: jax.lax.while_loop(lambda s: abs(s**2 - a) > 1e-4, lambda s: (s + a / s) / 2, 1.0 + 0 * a)
        )
        find.defjvp(lambda p, t: (find(*p), slope * t[0] / find(*p)))
        return find(a)

    assert check_grads(lambda a: f(a, 0.5), (np.float64(2.0),)).ok
    assert wrong_elements(lambda a: f(a, 0.51), np.float64(2.0))


def test_linearize_is_a_mode():
    assert check_grads(jnp.sin, (np.ones(3),), modes="lin").ok


def test_among_tied_numbers_a_gradient_next_to_the_tie_is_a_convention():
    x = np.array([2.0, 2.0, 1.0, 3.0, 2.0])
    assert check_grads(jnp.median, (x,)).ok
    bad = ruled(lambda x: jnp.median(x), lambda r, y: (y * jnp.where(r[0] == 2.0, 1.0, 0.0),))
    assert wrong_elements(bad, x)


def test_a_smooth_function_has_no_such_conventions():
    f = ruled(lambda x: x**2, lambda r, y: (2.001 * r[0] * y,))
    assert wrong_elements(f, np.array([0.3, 1.0, 2.0]))


def test_a_chaotic_function_is_not_judged_beyond_its_round_off():
    def f(x):
        return jax.lax.fori_loop(0, 50, lambda i, c: 3.99 * c * (1 - c), x)

    report = check_grads(f, (np.array([0.3, 0.61]),))
    assert sum(check.unresolved for check in report.checks) > 0
    assert "too uncertain to judge" in str(report)


def test_a_step_that_is_rounded_away_is_no_evidence():
    """The shift common to all is 1e-5 here, which the finest steps cannot add to 1, where the function is zero."""
    f = ruled(lambda x: x * jnp.log(x), lambda r, y: ((jnp.log(r[0]) + 1) * y,))
    assert check_grads(lambda x: jax.scipy.special.xlogy(x, x), (np.array([1e-30, 1e-5, 1.0]),)).ok
    assert check_grads(f, (np.array([1e-30, 1e-5, 1.0]),)).ok


@pytest.mark.usefixtures("float32_world")
def test_what_is_below_the_rounding_of_the_dtype_is_no_fault():
    f = ruled(jnp.sin, lambda r, y: (jnp.cos(r[0]) * y * (1 + 1e-8),))
    assert check_grads(f, (np.array([0.3, 0.7], np.float32),)).ok
    g = ruled(jnp.sin, lambda r, y: (jnp.cos(r[0]) * y * (1 + 1e-6),))
    assert wrong_elements(g, np.array([0.3, 0.7], np.float32))
