"""Re-evaluating a jaxpr: the same function with more digits, no custom rule, and a measured round-off."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import linear_call

from cnnjax.gradients.float64 import evaluate
from cnnjax.gradients.jaxprs import has_custom_rules, uses_only_builtin_rules

KEY = jax.random.key(0)
X = np.array([0.5, 1.5, 2.0], np.float32)


def matrix(x):
    return x[:, None] * x + jnp.eye(3, dtype=x.dtype)


@custom_vmap
def batched_sine(x):
    return jnp.sin(x)


batched_sine.def_vmap(lambda size, is_batched, x: (jnp.sin(x), True))

PROGRAMS = {
    "elementwise": lambda x: jnp.exp(jnp.tanh(x)) * 2,
    "cast to bfloat16": lambda x: (x.astype(jnp.bfloat16) * 2).astype(jnp.float32),
    "jit in jit": jax.jit(lambda x: jax.jit(jnp.sin)(x) + 1),
    "checkpoint": jax.checkpoint(jnp.sin),
    "scan": lambda x: lax.scan(lambda c, y: (c * y, c + 1), jnp.float32(1), x)[1],
    "scan with a closure": lambda x: lax.scan(lambda c, y: (c + x.sum() * y, c), x[0], x, reverse=True)[0],
    "fori_loop": lambda x: lax.fori_loop(0, 3, lambda i, c: c * x, x),
    "while_loop": lambda x: lax.while_loop(lambda c: c.sum() < 9, lambda c: c * 1.5, x),
    "batched while_loop": jax.vmap(lambda x: lax.while_loop(lambda c: c < 9, lambda c: c * 1.5, x)),
    "cond": lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x),
    "scatter": lambda x: jnp.asarray(x).at[jnp.array([0, 0])].add(x[:2]),
    "reduce with a function": lambda x: lax.reduce(x, jnp.float32(0), lambda a, b: a + b, (0,)),
    "reduce_window": lambda x: lax.reduce_window(x, jnp.float32(0), lax.add, (2,), (1,), "VALID"),
    "sort": jnp.sort,
    "solve": lambda x: jnp.linalg.solve(matrix(x), x),
    "eigenvalues": lambda x: jnp.linalg.eigvalsh(matrix(x)),
    "random numbers": lambda x: x * jax.random.normal(KEY, x.shape, x.dtype),
    "callback": lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((3,), np.float32), x),
    "fft": lambda x: jnp.abs(jnp.fft.fft(x)),
    "linear_call": lambda x: linear_call(lambda r, x: r * x, lambda r, t: r * t, jnp.float32(2), x),
    "custom_vmap": batched_sine,
    "relu": jax.nn.relu,
    "shard_map": lambda x: jax.shard_map(
        lambda x: x * lax.psum(x.sum(), "i"),
        mesh=jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,)),
        in_specs=jax.sharding.PartitionSpec("i"),
        out_specs=jax.sharding.PartitionSpec("i"),
    )(x),
    "accumulation dtype": lambda x: lax.dot(x, x, preferred_element_type=jnp.float32),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_is_the_same_function_in_float64(name):
    program = PROGRAMS[name]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        jaxpr = jax.make_jaxpr(program)(X)
        expected = program(X)
        (found,) = jax.jit(lambda x: evaluate(jaxpr, [x]))(X.astype(np.float64))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=2e-2 if "bfloat16" in name else 2e-5)


def test_float64_has_the_digits_of_float64():
    jaxpr = jax.make_jaxpr(lambda x: (x + np.float32(1e8)) - np.float32(1e8))(np.float32(0.1))
    assert evaluate(jaxpr, [0.1])[0] == pytest.approx(0.1, abs=1e-7)


def test_custom_rules_and_stopped_gradients_are_left_out():
    @jax.custom_jvp
    def wrong(x):
        return x**2

    wrong.defjvp(lambda p, t: (wrong(*p), 7 * t[0]))
    jaxpr = jax.make_jaxpr(lambda x: wrong(x) * lax.stop_gradient(x))(2.0)
    assert jax.grad(lambda x: evaluate(jaxpr, [x])[0])(2.0) == 12.0
    assert has_custom_rules(jaxpr)
    assert not uses_only_builtin_rules(jaxpr)


def test_printing_is_left_out(capfd):
    jaxpr = jax.make_jaxpr(lambda x: (jax.debug.print("{}", x), x)[1])(1.0)
    evaluate(jaxpr, [1.0])
    jax.effects_barrier()
    assert capfd.readouterr().out == ""


def test_rounding_sees_the_rounded_operations_only():
    seen = []

    def note(value, unit):
        seen.append(unit)
        return value

    jaxpr = jax.make_jaxpr(lambda x: jnp.maximum(-x, 0.5).reshape(3, 1) * np.float32(0.1))(X)
    evaluate(jaxpr, [X], note)
    # The product, and the number 0.1 that was written in Python and rounded to float32; 0.5 is exact.
    assert sorted(seen) == [np.finfo(np.float64).eps, np.finfo(np.float32).eps]


def test_an_iteration_that_has_converged_takes_more_steps():
    """Halving twice as often squares what is left; a loop that counts takes no step more."""

    def halved(x):
        left, _ = lax.while_loop(lambda c: c[1], lambda c: (c[0] / 2, (c[0] > 1e-3).all()), (x, True))
        return left

    def counted(x):
        return lax.fori_loop(0, 3, lambda i, c: c / 2, x)

    for f, steps in ((halved, 12), (jax.vmap(halved), 12), (counted, 0)):
        jaxpr, x = jax.make_jaxpr(f)(X), np.array([1.9, 1.5, 2.0])
        stopped = evaluate(jaxpr, [x])[0]
        for further, more in ((0.0, 0), (0.5, steps // 2), (1.0, steps)):
            np.testing.assert_array_equal(evaluate(jaxpr, [x], further=further)[0], stopped / 2.0**more)
