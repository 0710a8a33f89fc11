"""What every walk over a jaxpr needs."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from wrapped import with_jvp, with_vjp

from cnnjax._core.jaxprs import WRAPPERS, is_literal, open_jaxpr, subjaxprs, unpack_scan


def only_equation(f, *args):
    (eqn,) = open_jaxpr(jax.make_jaxpr(f)(*args))[0].eqns
    return eqn


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint, with_jvp, with_vjp])
def test_a_wrapper_holds_its_jaxpr_in_the_parameter_that_is_named(wrap):
    eqn = only_equation(wrap(lambda x: x + 1), 1.0)
    jaxpr, _ = open_jaxpr(eqn.params[WRAPPERS[eqn.primitive.name]])
    assert [inner.primitive.name for inner in jaxpr.eqns] == ["add"]


def test_the_jaxprs_of_all_branches_are_found():
    program = jax.make_jaxpr(lambda i: lax.switch(i, [lambda: i, lambda: i + 1, lambda: i * 2]))(jnp.int32(0))
    found = [len(subjaxprs(eqn)) for eqn in open_jaxpr(program)[0].eqns]
    assert max(found) == 3
    assert subjaxprs(only_equation(lambda x: x + 1, 1.0)) == []


def test_numbers_are_literals():
    eqn = only_equation(lambda x: x * 2.0, 1.0)
    assert [is_literal(atom) for atom in eqn.invars] == [False, True]


def test_the_inputs_of_a_scan_are_constants_carry_and_sequences():
    def f(constant, carry, sequence):
        return lax.scan(lambda carry, x: (carry + constant * x, carry), carry, sequence)

    eqn = only_equation(f, 1.0, 2.0, jnp.ones(3))
    assert [len(part) for part in unpack_scan(eqn.params, [*eqn.invars])] == [1, 1, 1]
    assert unpack_scan(eqn.params, ["a", "b", "c"]) == (["a"], ["b"], ["c"])
