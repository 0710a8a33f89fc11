"""Networks of ten million parameters in plain JAX, each as (loss, (parameters, batch)).

The parameters are dicts of float32 arrays, drawn with a seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax import losses, models

Case = tuple[Callable[..., Any], tuple[Any, ...]]

RNG = np.random.default_rng(0)


def normal(*shape: int, fan_in: int) -> np.ndarray:
    return (RNG.normal(size=shape) * math.sqrt(2 / fan_in)).astype(np.float32)


def kernel(size: int, into: int, out: int) -> np.ndarray:
    return normal(size, size, into, out, fan_in=size * size * into)


def scale_and_shift(features: int) -> dict[str, np.ndarray]:
    return {"scale": np.ones(features, np.float32), "shift": np.zeros(features, np.float32)}


def conv(x, w, stride=1):
    return lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def normalized(x, p, axes):
    """Batch normalization over ``axes``, or layer normalization if they are the last."""
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * p["scale"] + p["shift"]


def batch_norm(x, p):
    return normalized(x, p, (0, 1, 2))


def layer_norm(x, p):
    return normalized(x, p, (-1,))


def max_pool(x, size, stride):
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, "SAME")


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1).mean()


def resnet18() -> Case:
    """ResNet-18 (He et al. 2016, Table 1): 11.7 million parameters, two images of 64 x 64."""
    stages = [(64, 1), (128, 2), (256, 2), (512, 2)]
    params: dict[str, Any] = {"stem": {"w": kernel(7, 3, 64), **scale_and_shift(64)}}
    into = 64
    for i, (features, stride) in enumerate(stages, 1):
        for j in (1, 2):
            block = {"w1": kernel(3, into, features), "norm1": scale_and_shift(features)}
            block |= {"w2": kernel(3, features, features), "norm2": scale_and_shift(features)}
            if into != features or (j == 1 and stride > 1):
                block |= {"w3": kernel(1, into, features), "norm3": scale_and_shift(features)}
            params[f"stage{i}.{j}"], into = block, features
    params["dense"] = {"w": normal(512, 1000, fan_in=512), "b": np.zeros(1000, np.float32)}

    def block_of(x, p, stride):
        y = jax.nn.relu(batch_norm(conv(x, p["w1"], stride), p["norm1"]))
        y = batch_norm(conv(y, p["w2"]), p["norm2"])
        if "w3" in p:
            x = batch_norm(conv(x, p["w3"], stride), p["norm3"])
        return jax.nn.relu(x + y)

    def loss(params, images, labels):
        x = jax.nn.relu(batch_norm(conv(images, params["stem"]["w"], 2), params["stem"]))
        x = max_pool(x, 3, 2)
        for i, (_, stride) in enumerate(stages, 1):
            for j in (1, 2):
                x = block_of(x, params[f"stage{i}.{j}"], stride if j == 1 else 1)
        return cross_entropy(x.mean((1, 2)) @ params["dense"]["w"] + params["dense"]["b"], labels)

    return loss, (params, RNG.normal(size=(2, 64, 64, 3)).astype(np.float32), np.array([3, 700]))


def transformer() -> Case:
    """A causal transformer, normalized before each part: 10.0 million parameters, two rows of 32 tokens."""
    width, layers, heads, length, words = 320, 8, 8, 32, 512

    def layer() -> dict[str, Any]:
        return {
            "norm1": scale_and_shift(width),
            "qkv": normal(width, 3 * width, fan_in=2 * width),
            "out": normal(width, width, fan_in=2 * width),
            "norm2": scale_and_shift(width),
            "up": normal(width, 4 * width, fan_in=width),
            "down": normal(4 * width, width, fan_in=4 * width),
        }

    params = {
        "words": normal(words, width, fan_in=width),
        "places": normal(length, width, fan_in=width),
        "layers": [layer() for _ in range(layers)],
        "norm": scale_and_shift(width),
    }

    def attention(x, p):
        q, k, v = (
            a.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3) for a in jnp.split(x @ p["qkv"], 3, axis=-1)
        )
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(width // heads)
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
        return (jax.nn.softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(x.shape) @ p["out"]

    def loss(params, tokens):
        x = params["words"][tokens[:, :-1]] + params["places"]
        for p in params["layers"]:
            x = x + attention(layer_norm(x, p["norm1"]), p)
            x = x + jax.nn.gelu(layer_norm(x, p["norm2"]) @ p["up"]) @ p["down"]
        return cross_entropy(layer_norm(x, params["norm"]) @ params["words"].T, tokens[:, 1:])

    return loss, (params, RNG.integers(0, words, (2, length + 1)))


def unet() -> Case:
    """A U-Net (Ronneberger et al. 2015) of half its width: 7.8 million parameters, one image of 64 x 64."""
    widths = (32, 64, 128, 256, 512)

    def pair(into: int, out: int) -> dict[str, Any]:
        return {
            "w1": kernel(3, into, out),
            "norm1": scale_and_shift(out),
            "w2": kernel(3, out, out),
            "norm2": scale_and_shift(out),
        }

    params: dict[str, Any] = {"down": [pair(a, b) for a, b in zip((1, *widths), widths, strict=False)]}
    params["up"] = [{"w": kernel(2, a, b), **pair(a, b)} for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)]
    params["out"] = kernel(1, widths[0], 2)

    def convolved_twice(x, p):
        x = jax.nn.relu(batch_norm(conv(x, p["w1"]), p["norm1"]))
        return jax.nn.relu(batch_norm(conv(x, p["w2"]), p["norm2"]))

    def loss(params, image, labels):
        x, skipped = image, []
        for p in params["down"][:-1]:
            x = convolved_twice(x, p)
            skipped.append(x)
            x = max_pool(x, 2, 2)
        x = convolved_twice(x, params["down"][-1])
        for p in params["up"]:
            x = lax.conv_transpose(x, p["w"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = convolved_twice(jnp.concatenate([skipped.pop(), x], -1), p)
        return cross_entropy(conv(x, params["out"]), labels)

    image = RNG.normal(size=(1, 64, 64, 1)).astype(np.float32)
    return loss, (params, image, RNG.integers(0, 2, (1, 64, 64)))


def lenet5() -> Case:
    """LeNet-5 (LeCun et al. 1998): 60,000 parameters, one digit."""
    network = models.lenet5()
    digit = RNG.uniform(-0.1, 1.175, (1, 32, 32, 1)).astype(np.float32)

    def loss(params, digit, label):
        return losses.map_loss(network.apply(params, digit), label)

    return loss, (network.init(jax.random.key(0)), digit, np.array([3]))


NETWORKS = {"resnet18": resnet18, "transformer": transformer, "unet": unet, "lenet5": lenet5}
