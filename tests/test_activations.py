"""The activation functions, and the paper's statements about LeNet-5's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import ACTIVATIONS, scaled_tanh


def test_scaled_tanh_has_the_constants_of_the_paper():
    a = np.linspace(-4, 4, 41)
    np.testing.assert_allclose(scaled_tanh(jnp.asarray(a)), 1.7159 * np.tanh(2 * a / 3), rtol=4e-16)
    assert round(float(scaled_tanh(jnp.asarray(1.0))), 7) == 0.9999973
    assert float(scaled_tanh(jnp.asarray(-1.0))) == -float(scaled_tanh(jnp.asarray(1.0)))


def test_scaled_tanh_has_slope_and_curvature_as_computed():
    slope, curvature = jax.grad(scaled_tanh), jax.grad(jax.grad(scaled_tanh))
    assert round(float(slope(0.0)), 6) == 1.143933
    assert round(float(slope(1.0)), 6) == 0.755412
    # The paper has the curvature largest at +-1; exactly it is largest where tanh^2 = 1/3.
    a = jnp.linspace(0.5, 1.5, 1_000_001)
    bends = jnp.abs(jax.vmap(curvature)(a))
    peak = float(a[jnp.argmax(bends)])
    assert abs(peak - 0.987718) < 2e-6
    assert abs(float(jnp.max(bends)) - 0.587067) < 5e-7
    assert round(abs(float(curvature(1.0))), 6) == 0.586989


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_function_is_elementwise_differentiable_and_keeps_its_dtype(name):
    f = ACTIVATIONS[name]
    a = jnp.array([[-2.0, -0.3], [0.4, 2.5]])  # away from the kinks at -3, 0, 3 and 6
    np.testing.assert_allclose(f(a), jax.vmap(jax.vmap(f))(a), rtol=1e-15)
    h = 1e-5
    difference = (f(a + h) - f(a - h)) / (2 * h)
    derivative = jax.vmap(jax.vmap(jax.grad(f)))(a)
    np.testing.assert_allclose(derivative, difference, rtol=0, atol=h**2 + 4e-16 / h)
    for dtype in ("float32", "bfloat16"):
        assert f(a.astype(dtype)).dtype == dtype


def test_the_list_of_names_cannot_be_changed():
    with pytest.raises(TypeError):
        ACTIVATIONS["mine"] = jnp.tanh
    assert {"identity", "scaled_tanh", "tanh", "relu"} <= set(cnnjax.ACTIVATIONS)
