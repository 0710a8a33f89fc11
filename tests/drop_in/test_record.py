"""The report names each call that was met, what computes it and why."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import cnnjax
from cnnjax import drop_in
from cnnjax.drop_in.record import Call, Report, Row

X, W = jnp.ones((2, 9, 9, 24), "float32"), jnp.ones((3, 3, 1, 24), "float32")


def depthwise(x, w):
    return lax.conv_general_dilated(
        x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=24
    )


def programs_of(operation):
    return {row.call: row.programs for row in drop_in.report().rows if row.call.operation == operation}


@pytest.mark.parametrize("operation", ["forward", "input_gradient", "weight_gradient"])
def test_a_call_has_the_method_and_the_words_of_explain(operation):
    before = programs_of(operation)
    gradients = jax.jit(lambda x, w: jax.vjp(depthwise, x, w)[1](x[:, :5, :5]))
    with drop_in.enabled():
        (gradients if operation != "forward" else jax.jit(lambda x, w: depthwise(x, w))).lower(X, W)
    (call,) = [call for call, n in programs_of(operation).items() if n == before.get(call, 0) + 1]
    expected = cnnjax.explain(X.shape, W.shape, stride=2, padding="SAME", groups=24, platform="cpu").chosen[operation]
    assert (call.method, call.reason) == expected
    assert call.taken_over
    assert len(call.operands) == 2
    assert call.platform == "cpu"


def test_what_is_left_to_jax_is_counted_once_for_each_program():
    x = jnp.ones((1, 37, 41), "complex64")  # of a size that no other test of this process draws
    f = lambda x: lax.conv_general_dilated(x, x, (1,), "SAME")  # noqa: E731
    for n in (1, 2):
        with drop_in.enabled():
            jax.jit(lambda x: f(x)).lower(x)
        assert [p for call, p in programs_of("convolution").items() if call.result == "complex64[1,1,41]"] == [n]


def test_a_convolution_of_complex_numbers_is_taken_over_as_three_of_real_ones():
    x, w = jnp.full((1, 38, 41), 1 + 2j), jnp.full((38, 1, 3), 2 - 1j)
    with drop_in.enabled():
        jax.jit(lambda x, w: lax.conv_general_dilated(x, w, (1,), "VALID", feature_group_count=38)).lower(x, w)
    (call,) = (call for call in programs_of("convolution") if call.operands[0] == f"{x.dtype}[1,38,41]")
    assert not call.taken_over
    (real,) = (call for call in programs_of("forward") if call.operands[0] == f"{x.real.dtype}[1,38,41]")
    assert real.taken_over


def test_nothing_is_recorded_while_it_is_off():
    before = drop_in.report()
    jax.jit(lambda x, w: depthwise(x, w)).lower(X, W)
    assert drop_in.report() == before


def test_it_prints_a_line_for_each_call():
    taken = Call("forward", ("float32[8]", "float32[3]"), "float32[8]", "cpu", "onednn", "a kernel")
    left = Call("max_pool_gradient", ("f[1]",), "f[2]", "any cpu", "lax", "a size is symbolic")
    assert str(Report((Row(taken, 1), Row(left, 3)))) == (
        "drop_in has taken over 1 of 2 calls:\n"
        "forward            float32[8] float32[3] -> float32[8]      onednn       a kernel\n"
        "max pool gradient  f[1] -> f[2]                         x3  left to JAX  a size is symbolic"
    )
    assert "no convolution" in str(Report(()))
