"""The skeleton of the interpreters: any rule for one equation, any pytree for a value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnnjax.gradients.interpreter import cond, interpret, run_equations, scan

X = np.array([0.5, 1.5, 2.0])
OFFSET = np.arange(3.0)


def bind(eqn, values):
    results = eqn.primitive.bind(*values, **eqn.params)
    return results if eqn.primitive.multiple_results else [results]


def literal(atom):
    return atom.val


def test_it_evaluates_what_was_traced_constants_and_literals_included():
    def f(x):
        return jnp.tanh(x + OFFSET) * 2.0, x

    jaxpr = jax.make_jaxpr(f)(X)
    found = interpret(jaxpr, [X], bind, jnp.asarray, literal)
    for value, expected in zip(found, f(X), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-15)


def test_values_may_be_anything():
    jaxpr = jax.make_jaxpr(lambda x, y: (x * y) + x)(1.0, 2.0)
    found = interpret(jaxpr, ["x", "y"], lambda eqn, values: [f"{eqn.primitive}({', '.join(values)})"], str, str)
    assert found == ["add(mul(x, y), x)"]


def test_printing_is_left_out():
    jaxpr = jax.make_jaxpr(lambda x: (jax.debug.print("{}", x), x * 2)[1])(1.0)
    seen = []
    interpret(jaxpr, [1.0], lambda eqn, values: seen.append(eqn.primitive.name) or bind(eqn, values), str, literal)
    assert seen == ["mul"]


def test_equations_add_their_results_to_the_environment():
    jaxpr = jax.make_jaxpr(lambda x: jnp.sin(x) + 1.0)(1.0).jaxpr
    environment = {jaxpr.invars[0]: 0.0}
    read = run_equations(jaxpr.eqns, environment, bind, literal)
    assert read(jaxpr.outvars[0]) == 1.0
    assert len(environment) == 3


def both(jaxpr, pairs):
    """Evaluate on pairs of numbers."""
    first, second = ([pair[i] for pair in pairs] for i in (0, 1))
    return list(zip(*(interpret(jaxpr, values, bind, jnp.asarray, literal) for values in (first, second)), strict=True))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_of_pairs_is_two_scans(reverse):
    def f(start, xs):
        return lax.scan(lambda c, x: (jnp.sin(c) + x, c), start, xs, reverse=reverse)

    (eqn,) = jax.make_jaxpr(f)(0.0, X).eqns
    found = scan(eqn.params, [(jnp.asarray(0.1), jnp.asarray(0.2)), (X, 2 * X)], both)
    for pair, first, second in zip(found, f(0.1, X), f(0.2, 2 * X), strict=True):
        np.testing.assert_allclose(pair[0], first, rtol=1e-14)
        np.testing.assert_allclose(pair[1], second, rtol=1e-14)


@pytest.mark.parametrize("index", [0, 1])
def test_a_conditional_on_pairs_takes_one_branch(index):
    jaxpr = jax.make_jaxpr(lambda x: lax.cond(x > 0, jnp.cos, jnp.sin, x))(1.0)
    (eqn,) = (eqn for eqn in jaxpr.eqns if eqn.primitive.name == "cond")
    ((first, second),) = cond(eqn.params, index, [(jnp.asarray(0.1), jnp.asarray(0.2))], both)
    expected = (jnp.sin, jnp.cos)[index]
    np.testing.assert_allclose([first, second], [expected(0.1), expected(0.2)], rtol=1e-14)
