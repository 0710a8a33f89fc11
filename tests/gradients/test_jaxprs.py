"""What a walk over a jaxpr tells, its sub-jaxprs included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnnjax.gradients.float64 import evaluate
from cnnjax.gradients.jaxprs import (
    STOP_GRADIENT,
    calls_the_host,
    computes_in_float64,
    equations,
    has_custom_rules,
    has_float_loop_condition,
    has_loop_under_custom_rule,
    has_loop_until_converged,
    has_symbolic_zeros,
    may_iterate,
    rounding_units,
    rule_names,
    samples_gamma,
    uses_only_builtin_rules,
)

KEY = jax.random.key(0)
X = np.array([0.5, 1.5, 2.0], np.float32)


def test_every_equation_is_visited_once_however_deep():
    jaxpr = jax.make_jaxpr(
        jax.jit(lambda x: lax.cond(x > 0, lambda x: lax.fori_loop(0, 3, lambda i, c: c * x, x), jnp.sin, x))
    )(1.0)
    names = [eqn.primitive.name for eqn in equations(jaxpr)]
    assert names.count("sin") == names.count("cond") == names.count("mul") == 1
    assert names.index("cond") < names.index("sin")


def test_questions_reach_into_sub_jaxprs():
    looping = jax.make_jaxpr(lambda x: jax.jit(lambda x: lax.while_loop(lambda c: c < 9, lambda c: 2 * c, x))(x))(1.0)
    counting = jax.make_jaxpr(lambda x: lax.while_loop(lambda c: c[0] < 9, lambda c: (c[0] + 1, c[1]), (0, x)))(1.0)
    assert has_float_loop_condition(looping)
    assert not has_float_loop_condition(counting)
    narrow = jax.make_jaxpr(lambda x: jax.jit(lambda x: x.astype(jnp.bfloat16))(x))(1.0)
    assert float(jnp.finfo(jnp.bfloat16).eps) in rounding_units(narrow)
    assert uses_only_builtin_rules(counting)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: jax.jit(jnp.tanh)(x) * 2, True),
        (lambda x: x * jnp.arange(3).astype(x.dtype) + jax.lax.stop_gradient(x), True),
        (lambda x: x.astype(jnp.float32).astype(x.dtype), False),
        (lambda x: x * np.float32(0.1).astype(x.dtype) + jnp.float32([1, 2, 3]), False),
        (lambda x: lax.reduce_precision(x, 8, 7), False),
        (lambda x: lax.fori_loop(0, 3, lambda i, c: c * lax.reduce_precision(x, 8, 7), x), False),
        (lambda x: jax.random.gamma(KEY, x), False),
        (lambda x: (jax.debug.print("{}", x), x)[1], False),
    ],
    ids=["tanh", "stopped", "cast", "narrow constant", "rounded", "rounded in a loop", "gamma", "printed"],
)
def test_what_computes_in_float64_needs_no_evaluation_in_float64(f, expected):
    with jax.numpy_dtype_promotion("standard"):
        jaxpr = jax.make_jaxpr(f)(np.float64(X))
    assert computes_in_float64(jaxpr) is expected
    if expected:
        np.testing.assert_array_equal(evaluate(jaxpr, [np.float64(X)])[0], f(np.float64(X)))


def ruled(f, **options):
    g = jax.custom_vjp(f)
    g.defvjp(lambda x: (f(getattr(x, "value", x)), getattr(x, "value", x)), lambda x, y: (y * x,), **options)
    return g


def test_rules_are_counted_by_their_name():
    def square(x):
        return x**2

    rule = ruled(square)
    jaxpr = jax.make_jaxpr(jax.jit(lambda x: rule(rule(x)) + lax.stop_gradient(x)))(1.0)
    names = rule_names(jaxpr)
    assert names.pop(STOP_GRADIENT) == 1
    ((name, count),) = names.items()
    assert name.startswith("square at ")
    assert count == 2
    assert has_custom_rules(jaxpr)


@pytest.mark.parametrize(
    ("question", "yes", "no"),
    [
        (has_symbolic_zeros, ruled(jnp.square, symbolic_zeros=True), ruled(jnp.square)),
        (has_loop_under_custom_rule, ruled(lambda x: lax.fori_loop(0, 3, lambda i, c: c * x, x)), ruled(jnp.sin)),
        (calls_the_host, lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), np.float32), x), jnp.sin),
        (samples_gamma, lambda x: jax.random.gamma(KEY, x), lambda x: jax.random.uniform(KEY, dtype=x.dtype) * x),
        (has_custom_rules, jax.nn.relu, jnp.tanh),
        (uses_only_builtin_rules, jnp.tanh, jax.nn.relu),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_questions(question, yes, no):
    jaxprs = [jax.make_jaxpr(jax.jit(f))(np.float32(1.5)) for f in (yes, no)]
    assert [question(jaxpr) for jaxpr in jaxprs] == [True, False]


def test_a_loop_until_converged_is_not_one_that_counts():
    def until_small(x):
        return jax.lax.while_loop(lambda s: ~s[1], lambda s: (s[0] / 2, (s[0] < 1e-3).all()), (x, False))[0]

    def counted(x):
        return jax.lax.fori_loop(0, jnp.int32(x.sum() * 0 + 3), lambda i, s: s / 2, x)

    x = np.ones(2, np.float32)
    assert has_loop_until_converged(jax.make_jaxpr(until_small)(x))
    assert not has_loop_until_converged(jax.make_jaxpr(counted)(x))


def test_cutting_a_vector_up_is_an_operation_of_jax():
    jaxpr = jax.make_jaxpr(lambda x: jax.lax.split(x, (1, 2)))(jnp.ones(3))
    assert uses_only_builtin_rules(jaxpr)
    assert not may_iterate(jaxpr)
