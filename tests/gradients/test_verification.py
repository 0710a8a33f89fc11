"""The steps of a verification: what stops it, and what it goes on to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import ruled

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads


def test_a_rule_that_raises_is_wrong():
    f = ruled(jnp.sin, lambda r, y: (jnp.zeros(7) * y,))
    with pytest.raises(GradientError, match="the rule runs"):
        check_grads(f, (np.ones(3),))


def test_no_mode_is_no_verification():
    def f(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    with pytest.raises(GradientError, match="some mode exists"):
        check_grads(f, (np.ones(3),))


def test_no_derivative_is_not_a_wrong_one():
    with pytest.raises(GradientError, match="schur has no derivative of order 1"):
        check_grads(jax.scipy.linalg.schur, (np.eye(2),))


def test_a_mode_that_exists_under_jit_alone_is_missing():
    only_reverse = ruled(jnp.sin, lambda r, y: (jnp.cos(r[0]) * y,))

    def f(x):
        traced = isinstance(getattr(x, "primal", x), jax.core.Tracer)
        return jnp.sin(x) if traced else only_reverse(x)

    report = check_grads(f, (np.ones(3),))
    assert [what for what, why in report.skipped if "without jit" in why] == ['mode "fwd", order 1']


def test_a_derivative_that_has_no_derivative_itself():
    def host(g, x):
        return jax.pure_callback(g, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    f = ruled(lambda x: host(np.sin, x), lambda r, y: (host(np.cos, r[0]) * y,))
    assert check_grads(f, (np.ones(3),), 1).ok
    with pytest.raises(GradientError, match="some mode exists"):
        check_grads(f, (np.ones(3),), 2)


def test_linearize_is_a_mode():
    assert check_grads(jnp.sin, (np.ones(3),), modes="lin").ok


@pytest.mark.parametrize(
    ("f", "args", "reason"),
    [
        (jnp.log, (-np.ones(2),), "not finite at the given point"),
        (jnp.sin, (np.array([np.nan]),), "not finite at the given point"),
        (lambda x: None, (np.ones(2),), "returns no floating"),
        (lambda x: "loss", (np.ones(2),), "returns no floating"),
        (lambda i: i * 2, (np.arange(3),), "No argument is a floating"),
    ],
)
def test_where_there_is_nothing_to_verify_nothing_is_right(f, args, reason):
    with pytest.raises(GradientError, match=reason):
        check_grads(f, args)


def test_an_empty_array_has_a_derivative_of_no_numbers():
    assert check_grads(jnp.sin, (np.ones((0, 3)),)).ok


PARAMS = {"a": np.arange(1.0, 7.0).reshape(2, 3), "b": np.ones(3), "c": np.array([0.5, 2.0])}


def test_what_there_was_no_time_for_is_named():
    report = check_grads(lambda p: jnp.tanh(p["a"] @ p["b"]) * p["c"], (PARAMS,), 2, exhaustive=True, seconds=1e-6)
    assert report.ok
    left_out = {what: why for what, why in report.skipped if "time was up" in why}
    together = [what for what in left_out if what.startswith("gradient (rev) at the given point")]
    assert all(f"args[0]['{name}']" in together[0] for name in PARAMS)
    assert any("args[0]['a'][0, 0] ... args[0]['a'][1, 2]" in what for what in left_out if "every element" in what)
    assert {"the nearby point, order 1", "linearity (rev)", "vmap equals loop", "order 2"} <= set(left_out)


def test_without_time_a_wrong_element_of_a_rule_is_still_found_and_named():
    f = ruled(lambda x: jnp.sin(x).sum(), lambda r, y: ((jnp.cos(r[0]) * y).at[41].multiply(1.01),))
    x = np.random.default_rng(0).normal(size=60)
    with pytest.raises(GradientError) as caught:
        check_grads(lambda p: (p["c"] ** 2).sum() * f(p["x"]), ({**PARAMS, "x": x},), seconds=1e-6)
    assert [mismatch.where for mismatch in caught.value.report.mismatches] == ["args[0]['x'][41]"]


def test_with_time_enough_nothing_is_left_out():
    report = check_grads(lambda p: jnp.tanh(p["a"] @ p["b"]) * p["c"], (PARAMS,), seconds=None)
    assert not report.skipped
    assert not any(check.left_out for check in report.checks)
