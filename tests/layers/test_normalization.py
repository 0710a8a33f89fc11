"""Normalisation against PyTorch: values, running statistics, several devices, 16 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal

from cnnjax.errors import ArgumentTypeError, ArgumentValueError
from cnnjax.layers import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm

KEY = jax.random.key(0)
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def parameters(layer, shape):
    like = layer.init(KEY, shape, jnp.float64)
    return {key: np.abs(normal(value.shape, f"{key} of a norm")) + 0.1 for key, value in like.items()}


def first(x):
    """(N, H, W, C) or (N, C) as PyTorch takes it."""
    return np.moveaxis(x, -1, 1)


@pytest.mark.parametrize("shape", [(4, 3, 2), (5,)])
def test_batch_norm_is_that_of_pytorch(shape):
    torch = pytest.importorskip("torch")
    layer = BatchNorm(eps=1e-3, momentum=0.3)
    params, x = parameters(layer, shape), normal((6, *shape), "batch") * 3 + 2
    tensors = {key: torch.from_numpy(value.copy()) for key, value in params.items()}
    moments = tensors["mean"], tensors["var"], tensors["w"], tensors["b"]
    expected = torch.nn.functional.batch_norm(torch.from_numpy(first(x)), *moments, eps=1e-3)
    np.testing.assert_allclose(first(layer.apply(params, jnp.asarray(x))), expected, **CLOSE)
    y, fresh = layer.apply_training(params, jnp.asarray(x), None, None)
    expected = torch.nn.functional.batch_norm(torch.from_numpy(first(x)), *moments, True, 0.3, 1e-3)
    np.testing.assert_allclose(first(y), expected, **CLOSE)
    for key in ("mean", "var"):  # which PyTorch has changed in place
        np.testing.assert_allclose(fresh[key], tensors[key], **CLOSE)
    np.testing.assert_array_equal(fresh["w"], params["w"])


def test_statistics_of_16_bit_images_are_kept_in_float32():
    layer = BatchNorm()
    params = layer.init(KEY, (2, 2, 3), jnp.bfloat16)
    assert (params["w"].dtype, params["mean"].dtype) == (jnp.bfloat16, jnp.float32)
    x = jnp.asarray(normal((4, 2, 2, 3), "halves"), jnp.bfloat16)
    assert layer.apply(params, x).dtype == jnp.bfloat16
    y, fresh = layer.apply_training(params, x, None, None)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(fresh["mean"], 0.1 * np.asarray(x, float).mean((0, 1, 2)), rtol=1e-4, atol=1e-7)


def test_a_variance_takes_two_pixels():
    layer = BatchNorm()
    params = layer.init(KEY, (1, 1, 3), jnp.float32)
    with pytest.raises(ArgumentValueError, match="1 pixels of each map; expected at least 2"):
        layer.apply_training(params, jnp.zeros((1, 1, 1, 3), jnp.float32), None, None)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm_is_that_of_pytorch(groups):
    torch = pytest.importorskip("torch")
    layer = GroupNorm(groups=groups)
    params, x = parameters(layer, (4, 3, 6)), normal((2, 4, 3, 6), "groups") * 3 + 2
    weights = [torch.from_numpy(params[key]) for key in ("w", "b")]
    expected = torch.nn.functional.group_norm(torch.from_numpy(first(x)), groups, *weights)
    np.testing.assert_allclose(first(layer.apply(params, jnp.asarray(x))), expected, **CLOSE)


def test_layer_norm_is_that_of_pytorch_over_the_last_axis():
    torch = pytest.importorskip("torch")
    layer = LayerNorm(eps=1e-6)
    params, x = parameters(layer, (4, 3, 6)), normal((2, 4, 3, 6), "pixels") * 3 + 2
    weights = [torch.from_numpy(params[key]) for key in ("w", "b")]
    expected = torch.nn.functional.layer_norm(torch.from_numpy(x), (6,), *weights, eps=1e-6)
    np.testing.assert_allclose(layer.apply(params, jnp.asarray(x)), expected, **CLOSE)


def test_local_response_norm_is_that_of_pytorch_but_for_the_division_of_alpha():
    torch = pytest.importorskip("torch")
    x = normal((2, 4, 3, 7), "responses") * 3
    expected = torch.nn.functional.local_response_norm(torch.from_numpy(first(x)), 5, alpha=5 * 0.1, beta=0.75, k=2.0)
    y = LocalResponseNorm(size=5, alpha=0.1).apply({}, jnp.asarray(x))
    np.testing.assert_allclose(first(y), expected, **CLOSE)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: GroupNorm(groups=4).output_shape((2, 2, 6)), ArgumentValueError, "a divisor of the 6 maps.* groups=2"),
        (lambda: GroupNorm(groups=0), ArgumentValueError, "GroupNorm: `groups` is 0"),
        (lambda: LocalResponseNorm(size=4), ArgumentValueError, "an odd number.* size=5"),
        (lambda: BatchNorm(activation="rulu"), ArgumentValueError, "BatchNorm: `activation`"),
        (lambda: LayerNorm(activation=3), ArgumentTypeError, "LayerNorm: `activation`"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
