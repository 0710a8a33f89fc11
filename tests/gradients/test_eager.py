"""Rules as their user runs them: the same numbers as compiled, and what they raise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.gradients.differentiation import MODES, differentiate
from cnnjax.gradients.eager import differentiate_eagerly, run_eagerly
from cnnjax.gradients.flat_function import flatten_function

ARGS = (np.array([0.3, -1.2]), {"z": np.array([1 + 2j, 3 - 1j])}, 2.0)


def f(x, tree, scale):
    z = tree["z"]
    return jax.lax.complex(jnp.sin(x), 0 * x) * z * scale, (abs(z) ** 2).sum()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("between", [False, True])
def test_it_is_the_derivative_of_the_flat_function(mode, between):
    flat = flatten_function(f, ARGS)
    probe = np.random.default_rng(0).normal(size=len(flat.value) if mode == "rev" else len(flat.point))
    elsewhere = flat.point + 1 if between else None
    found, value = differentiate_eagerly(flat, mode, flat.point, probe, widen=True, between=elsewhere)
    expected, expected_value = differentiate(mode, flat.in_float64, jnp.asarray(flat.point), jnp.asarray(probe))
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    np.testing.assert_allclose(value, expected_value, rtol=1e-13)


def test_a_run_has_every_point():
    flat = flatten_function(jnp.sin, (np.array([0.3, -1.2]),))
    run = run_eagerly(flat, "rev", [flat.point, flat.point + 1], np.ones(2))
    np.testing.assert_allclose(run.derivatives, np.cos(run.points), rtol=1e-15)
    np.testing.assert_array_equal(run.first, np.concatenate([run.derivatives[0], run.value]))
    assert run.different == ()


def test_repetitions_that_differ_are_kept():
    calls = iter(range(100))
    flat = flatten_function(lambda x: x * next(calls), (np.array([0.3, -1.2]),))
    run = run_eagerly(flat, "fwd", [flat.point], np.ones(2))
    assert len(run.different) == 2


def test_what_a_rule_raises_is_returned():
    broken = jax.custom_vjp(jnp.sin)
    broken.defvjp(lambda x: (jnp.sin(x), x), lambda x, y: 1 / 0)
    flat = flatten_function(broken, (np.ones(2),))
    assert isinstance(run_eagerly(flat, "rev", [flat.point], np.ones(2)), ZeroDivisionError)
