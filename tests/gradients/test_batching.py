"""The derivative of several samples, arguments or outputs at once is that of each alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import X, failed_checks, right, sine
from jax import lax
from jax.custom_batching import custom_vmap

from cnnjax.gradients import check_grads


@pytest.mark.parametrize("wrong", [False, True])
def test_a_rule_that_asks_which_arguments_are_held(wrong):
    f = jax.custom_vjp(lambda a, b: (a * b, jnp.sin(a)))

    def forward(a, b):
        return f(a.value, b.value), (a.value, b.value, b.perturbed)

    def backward(r, y):
        a, b, moves = r
        y = [jnp.zeros(c.shape, c.dtype) if isinstance(c, jax.custom_derivatives.SymbolicZero) else c for c in y]
        return y[0] * b + y[1] * jnp.cos(a) * (1.0 if moves or not wrong else 1.5), y[0] * a

    f.defvjp(forward, backward, symbolic_zeros=True)
    if wrong:
        assert failed_checks(f, (X, X[::-1])) == {"one argument at a time"}
    else:
        assert check_grads(f, (X, X[::-1])).ok


@pytest.mark.parametrize("wrong", [False, True])
def test_a_forward_rule_that_asks_which_arguments_are_held(wrong):
    f = jax.custom_jvp(jnp.multiply)

    def tangent(primals, tangents):
        (a, b), (da, db) = primals, tangents
        parts = [(da, b), (db, a * (1.0 if type(da) is not jax.custom_derivatives.SymbolicZero or not wrong else 2.0))]
        moving = [d * by for d, by in parts if type(d) is not jax.custom_derivatives.SymbolicZero]
        return a * b, sum(moving[1:], moving[0])

    f.defjvp(tangent, symbolic_zeros=True)
    if wrong:
        assert failed_checks(f, (X, X[::-1])) >= {"one argument at a time"}
    else:
        assert check_grads(f, (X, X[::-1])).ok


def test_a_batching_rule():
    slope = custom_vmap(right)
    slope.def_vmap(lambda size, is_batched, x, y: (right(x, y) * (2.0 if is_batched[0] else 1.0), True))
    assert failed_checks(sine(slope)) == {"vmap equals loop"}


def test_what_cannot_be_tested_is_listed_with_the_reason():
    def f(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    g = jax.custom_vjp(f)
    g.defvjp(lambda x: (f(x), x), lambda x, y: (right(x, y),))
    report = check_grads(lambda x: lax.cond(x[0] > 100, jnp.cos, g, x), (X,))
    assert report.ok
    assert any("vmap" in what and "vectorized" in why for what, why in report.skipped)
