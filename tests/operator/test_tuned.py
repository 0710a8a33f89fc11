"""Measurements as the argument `method`: what the traced program contains, and when it falls back to "auto"."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tuning_cases import W, X, arrays, loss, methods_in_program, tune

import cnnjax
from cnnjax import explain
from cnnjax.layers import Conv2D
from cnnjax.operator.spec import DIRECTIONS

pytestmark = pytest.mark.usefixtures("times")


def test_the_program_carries_what_was_measured(times):
    x, w = arrays()
    assert methods_in_program(lambda x, w: cnnjax.conv2d(x, w, method=tune()), x, w) == {"forward": "im2col"}
    gradient = jax.jit(jax.grad(loss(tune()), (0, 1)))
    assert methods_in_program(gradient, x, w) == dict.fromkeys(DIRECTIONS, "im2col")
    times["shift"] = 0.5
    assert methods_in_program(lambda x, w: cnnjax.conv2d(x, w, method=tune()), x, w) == {"forward": "shift"}


def test_directions_may_have_different_methods():
    measured = tune()
    (one,) = measured.measurements
    other = cnnjax.Tuned(
        **{name: getattr(measured, name) for name in ("machine", "platform", "jax", "cnnjax")},
        measurements=(type(one)(one.spec, one.forward, type(one.forward)("shift", (("shift", 1.0),)), one.forward),),
    )
    gradient = methods_in_program(jax.grad(loss(other), (0, 1)), *arrays())
    assert gradient == {"forward": "im2col", "input_gradient": "shift", "weight_gradient": "im2col"}
    chosen = explain(X, W, method=other, platform="cpu").chosen
    assert [chosen[direction][0] for direction in DIRECTIONS] == ["im2col", "shift", "im2col"]


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, lambda f: jax.jit(jax.vmap(f))], ids=["jit", "vmap", "both"])
def test_values_and_gradients_are_those_of_auto(transform):
    x, w = arrays(dtype="float64")
    x, w = jnp.stack([x, 2 * x]), jnp.stack([w, w + 1])
    x, w = (x[0], w[0]) if transform is jax.jit else (x, w)
    measured = tune(dtype="float64")
    for order in (loss, lambda method: jax.grad(loss(method), (0, 1)), lambda method: jax.hessian(loss(method), 1)):
        found, wanted = transform(order(measured))(x, w), transform(order("auto"))(x, w)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-9), found, wanted)


@pytest.mark.parametrize(
    ("x", "w", "dtype", "settings"),
    [
        ((3, 6, 6, 4), W, "float32", {}),
        (X, (3, 2, 4, 4), "float32", {}),
        (X, W, "float64", {}),
        (X, W, "float32", {"padding": "SAME"}),
        (X, W, "float32", {"stride": 2}),
        (X, (3, 3, 2, 4), "float32", {"groups": 2}),
    ],
)
def test_a_convolution_that_was_not_measured_falls_back_to_auto(x, w, dtype, settings):
    x, w = arrays(x, w, dtype)
    measured = tune()
    found, wanted = (jax.make_jaxpr(jax.grad(loss(m, **settings), (0, 1)))(x, w) for m in (measured, "auto"))
    assert str(found) == str(wanted)
    chosen = explain(x.shape, w.shape, method=measured, dtype=dtype, platform="cpu", **settings).chosen
    assert all(why.endswith("(not measured)") for _, why in chosen.values())


def test_it_is_found_by_what_is_computed_not_by_how_it_was_written():
    measured = tune(padding="SAME")
    for padding in ("SAME", 1, ((1, 1), (1, 1)), "SAME_LOWER"):
        assert explain(X, W, padding=padding, method=measured, platform="cpu").chosen["forward"][0] == "im2col"
    wrapped = tune(padding="CIRCULAR")
    assert methods_in_program(lambda x, w: cnnjax.conv2d(x, w, padding="CIRCULAR", method=wrapped), *arrays()) == {
        "forward": "im2col"
    }


def test_on_another_platform_it_falls_back_to_auto():
    x, w = arrays()
    program = {
        method: jax.jit(lambda x, w, m=m: cnnjax.conv2d(x, w, method=m))
        .trace(x, w)
        .lower(lowering_platforms=("cuda",))
        .as_text()
        for method, m in (("tuned", tune()), ("auto", "auto"))
    }
    assert "stablehlo.convolution" in program["tuned"]
    assert program["tuned"] == program["auto"]
    method, why = explain(X, W, method=tune(), platform="cuda").chosen["forward"]
    assert (method, why.endswith("(measured on another platform: cpu)")) == ("lax", True)


def test_explain_says_that_it_was_measured_and_the_times():
    method, why = explain(X, W, method=tune(), platform="cpu").chosen["weight_gradient"]
    assert (method, why) == ("im2col", "measured, in ms: im2col 1, lax 2, shift 3")


def test_it_is_a_value():
    a, b = tune(), tune()
    assert a == b
    assert hash(a) == hash(b)
    x, w = arrays()
    static = jax.jit(lambda x, w, method: cnnjax.conv2d(x, w, method=method), static_argnames="method")
    assert static(x, w, method=a).shape == (2, 4, 4, 4)
    assert static._cache_size() == 1
    static(x, w, method=b)
    assert static._cache_size() == 1
    static(x, w, method="auto")
    assert static._cache_size() == 2


def test_it_can_be_measured_while_a_function_is_traced(as_measured):
    @jax.jit
    def f(x, w):
        return cnnjax.conv2d(x, w, method=tune(x.shape, w.shape, methods=["im2col"], dtype=x.dtype, seconds=0.001))

    assert methods_in_program(f, *arrays()) == {"forward": "im2col"}


def test_measurements_are_joined(times):
    first, second = tune(), tune(padding="SAME")
    assert len((first | second).measurements) == 2
    times["shift"] = 0.1
    again = first | second | tune()
    assert [one.forward.method for one in again.measurements] == ["shift", "im2col"]
    assert "(2, 6, 6, 4) by (3, 3, 4, 4), float32: shift / shift / shift" in str(again)


def test_a_layer_takes_it():
    x, w = arrays()
    layer = Conv2D(4, 3, bias=False, method=tune())
    assert methods_in_program(lambda x, w: layer.apply({"w": w}, x), x, w) == {"forward": "im2col"}
    with pytest.raises(ValueError, match="Conv2D: `method` is 'fastest'"):
        Conv2D(4, 3, method="fastest")


def test_every_convolution_takes_it():
    line = cnnjax.tune((1, 9, 2), (3, 2, 2), methods=["shift"])
    assert methods_in_program(lambda x, w: cnnjax.conv1d(x, w, method=line), *arrays((1, 9, 2), (3, 2, 2))) == {
        "forward": "shift"
    }
    each = cnnjax.tune((1, 6, 6, 2), (3, 3, 1, 4), groups=2, methods=["grouped"])
    shapes = (1, 6, 6, 2), (3, 3, 2, 2)
    assert methods_in_program(lambda x, w: cnnjax.depthwise_conv2d(x, w, method=each), *arrays(*shapes)) == {
        "forward": "grouped"
    }
