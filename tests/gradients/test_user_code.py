"""What JAX says of a function without a derivative, and what a broken rule says, are told apart.

The messages are JAX's; these tests run on the oldest and the newest version that is supported.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import guarded_log, wrong_elements
from jax import lax

from cnnjax.gradients import check_grads
from cnnjax.gradients.user_code import NO_DERIVATIVE, call_with_retry, first_line, has_no_derivative, rows_or_nan

X = np.array([0.5, 1.5], np.float32)


def host(x):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


def looped(x):
    return lax.while_loop(lambda c: c.sum() < 9, lambda c: c * 1.5, x)


def foreign(x):
    return jax.ffi.ffi_call("no_such_target", jax.ShapeDtypeStruct(x.shape, x.dtype))(x)


only_reverse = jax.custom_vjp(jnp.sin)
only_reverse.defvjp(lambda x: (jnp.sin(x), x), lambda x, y: (jnp.cos(x) * y,))

mixed = jax.custom_jvp(jnp.sin)  # a value that depends on the tangent
mixed.defjvp(lambda primals, tangents: (jnp.sin(primals[0]) + 0 * tangents[0], tangents[0]))

untransposable = jax.custom_jvp(jnp.sin)
untransposable.defjvp(lambda primals, tangents: (jnp.sin(primals[0]), jnp.exp(tangents[0])))


def products(x):  # of numbers that may be at the same place
    return jnp.ones(3, x.dtype).at[jnp.array([0, 0])].multiply(x)


def forward(f):
    return jax.jvp(f, (X,), (X,))


def reverse(f):
    value, pull = jax.vjp(f, X)
    return pull(value)


def linear(f):
    return jax.linearize(f, X)[1](X)


WITHOUT_DERIVATIVE = {
    "can't apply forward-mode": (forward, only_reverse),
    "Reverse-mode differentiation does not work for lax.while_loop": (reverse, looped),
    "Linearization failed to produce known values": (linear, mixed),
    "Differentiation rule for": (forward, lambda x: lax.linalg.schur(jnp.outer(x, x))[0]),
    "Transpose rule (for reverse-mode differentiation)": (reverse, untransposable),
    "gradients are only implemented if": (reverse, products),
    "do not support JVP": (forward, host),
    "cannot be differentiated": (forward, foreign),
}


def test_each_message_has_a_function():
    assert set(WITHOUT_DERIVATIVE) == set(NO_DERIVATIVE)


@pytest.mark.parametrize("message", NO_DERIVATIVE)
def test_what_jax_says_of_a_function_without_a_derivative_is_recognized(message):
    derivative, f = WITHOUT_DERIVATIVE[message]
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of whatever type
        derivative(f)
    assert message in str(caught.value)
    assert has_no_derivative(caught.value)


def broken(bwd):
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), bwd)
    return f


@pytest.mark.parametrize(
    "bwd",
    [
        lambda x, y: (jnp.zeros(7) * y,),
        lambda x, y: (y, y),
        lambda x, y: (jnp.zeros((3, 3)),),
        lambda x, y: (y @ y[None],),
        lambda x, y: (y if y.sum() > 0 else x,),
        lambda x, y: 1 / 0,
    ],
    ids=["shape", "count", "shape of the result", "matmul", "branch", "exception"],
)
def test_a_broken_rule_is_not_taken_for_a_missing_derivative(bwd):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of whatever type
        jax.jit(lambda x: jax.vjp(broken(bwd), x)[1](x))(X)
    assert not has_no_derivative(caught.value)


def test_the_first_line_of_a_message():
    assert first_line(TypeError("one\ntwo")) == "TypeError: one"
    assert first_line(ValueError()) == "ValueError: "
    assert len(first_line(ValueError("x" * 1000))) < 220


def test_what_fails_is_tried_again_unless_there_is_no_derivative():
    calls = []

    def fails(message):
        calls.append(message)
        raise TypeError(message)

    for message, times in (("float64 is not float32", 2), ("can't apply forward-mode differentiation (jvp) to", 1)):
        with pytest.raises(TypeError):
            call_with_retry(lambda message=message: fails(message))
        assert calls.count(message) == times


def test_rows_that_raise_are_not_a_number():
    calls = []

    def run(first, last):
        calls.append((first, last))
        if first <= 5 < last:
            raise ValueError
        return np.arange(first, last, dtype=float)[:, None]

    np.testing.assert_array_equal(rows_or_nan(run, 0, 8, 1)[:, 0], [0, 1, 2, 3, 4, np.nan, 6, 7])
    assert len(calls) == 7


@pytest.mark.parametrize("exhaustive", [False, True])
def test_where_a_function_raises_it_is_not_defined(exhaustive):
    x = np.array([0.02, 1.2], np.float32)  # a step of 1/8 of a magnitude stays inside, a step to -x does not
    report = check_grads(lambda x: guarded_log(x, 0.0), (x,), exhaustive=exhaustive)
    assert report.ok
    assert any("sign-flipped" in what for what, _ in report.skipped)
    edge = np.array([1.0, 1.2], np.float32)  # every smaller number raises: the other side decides
    assert check_grads(lambda x: guarded_log(x, 0.9999999), (edge,), modes="rev").ok
    assert wrong_elements(lambda x: guarded_log(x, 0.9999999, slope=1.01), edge, modes="rev")


def test_an_exception_of_a_callback_is_named():
    with pytest.raises(Exception, match="outside the domain") as caught:
        np.asarray(jax.jit(lambda x: guarded_log(x, 0.0))(X - 1))
    assert first_line(caught.value).endswith("ValueError: outside the domain")
