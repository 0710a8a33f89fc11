"""The same LeNet-5 in each library: tanh, average pooling, softmax, Adam, with the same initial weights and loss.

    32x32 -C1 5x5-> 6 -pool-> 6 -C3 5x5, all to all-> 16 -pool-> 16 -C5 5x5-> 120 -F6-> 84 -> 10

Every library uses its own layout and layers and, in JAX, one jitted step over plain arrays, the fastest way that each
documents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cnnjax.layers import AvgPool2D, Conv2D, Dense, Input, Network
from cnnjax.operator import MethodName

__all__ = ["IMPLEMENTATIONS", "batch", "jax_step", "network", "weights"]

RATE = 1e-3
_CONVOLUTIONS = {"c1": (1, 6), "c3": (6, 16), "c5": (16, 120)}
_DENSE = {"f6": (120, 84), "output": (84, 10)}
Weights = dict[str, dict[str, np.ndarray]]
Step = Callable[[np.ndarray, np.ndarray], Any]


def weights(seed: int = 0) -> Weights:
    """Glorot-uniform weights, HWIO and (inputs, outputs), and zero biases, in float32."""
    random = np.random.default_rng(seed)

    def layer(taps: int, inputs: int, outputs: int, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        limit = np.sqrt(6 / (taps * (inputs + outputs)))
        return {"w": random.uniform(-limit, limit, shape).astype(np.float32), "b": np.zeros(outputs, np.float32)}

    found = {name: layer(25, *maps, (5, 5, *maps)) for name, maps in _CONVOLUTIONS.items()}
    return found | {name: layer(1, *units, units) for name, units in _DENSE.items()}


def batch(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 1) of normal numbers and labels (N,)."""
    random = np.random.default_rng(seed)
    return random.standard_normal((size, 32, 32, 1), np.float32), random.integers(0, 10, size).astype(np.int32)


def network(method: MethodName = "auto") -> Network:
    """LeNet-5 in cnnjax, with a method for its convolutions."""
    convolution = Conv2D(6, 5, activation="tanh", method=method)
    return Network(
        "LeNet-5, tanh, average pooling, softmax",
        Input((32, 32, 1)),
        (
            ("c1", convolution),
            ("s2", AvgPool2D(2)),
            ("c3", replace(convolution, maps=16)),
            ("s4", AvgPool2D(2)),
            ("c5", replace(convolution, maps=120)),
            ("f6", Dense(84, activation="tanh")),
            ("output", Dense(10)),
        ),
    )


def jax_step(logits: Callable[[Any, jax.Array], jax.Array]) -> Any:
    """The jitted step (params, optimizer state, images, labels) -> (params, optimizer state, loss)."""
    optimizer = optax.adam(RATE)

    def loss(params: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits(params, x), labels))

    @jax.jit(donate_argnums=(0, 1))
    def step(params: Any, state: Any, x: jax.Array, labels: jax.Array) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params, x, labels)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    return step


def _stateful(logits: Callable[[Any, jax.Array], jax.Array], params: Any) -> Step:
    """A step that keeps its parameters and optimizer state between calls."""
    step, params = jax_step(logits), jax.tree.map(jnp.array, params)
    state = optax.adam(RATE).init(params)

    def run(x: np.ndarray, labels: np.ndarray) -> jax.Array:
        nonlocal params, state
        params, state, loss = step(params, state, x, labels)
        return loss

    return run


def _cnnjax(given: Weights, method: MethodName = "auto") -> Step:
    return _stateful(network(method).apply, given)


def _flax(given: Weights) -> Step:
    from flax import nnx

    keys = nnx.Rngs(0)
    convolutions = {name: nnx.Conv(*maps, (5, 5), padding="VALID", rngs=keys) for name, maps in _CONVOLUTIONS.items()}
    dense = {name: nnx.Linear(*units, rngs=keys) for name, units in _DENSE.items()}
    layers: dict[str, Any] = convolutions | dense
    for name, layer in layers.items():
        layer.kernel[...], layer.bias[...] = jnp.asarray(given[name]["w"]), jnp.asarray(given[name]["b"])

    class LeNet(nnx.Module):
        def __init__(self) -> None:
            self.c1, self.c3, self.c5 = convolutions.values()
            self.f6, self.output = dense.values()

        def __call__(self, x: jax.Array) -> jax.Array:
            x = nnx.avg_pool(nnx.tanh(self.c1(x)), (2, 2), (2, 2))
            x = nnx.avg_pool(nnx.tanh(self.c3(x)), (2, 2), (2, 2))
            x = nnx.tanh(self.c5(x)).reshape(x.shape[0], -1)
            return self.output(nnx.tanh(self.f6(x)))

    graph, params = nnx.split(LeNet())
    return _stateful(lambda params, x: nnx.merge(graph, params)(x), params)


def _equinox(given: Weights) -> Step:
    import equinox as eqx

    key = jax.random.key(0)

    def convolution(name: str) -> Any:
        layer = eqx.nn.Conv2d(*_CONVOLUTIONS[name], 5, key=key)
        w, b = given[name]["w"].transpose(3, 2, 0, 1), given[name]["b"].reshape(-1, 1, 1)
        return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (jnp.asarray(w), jnp.asarray(b)))

    def dense(name: str) -> Any:
        layer = eqx.nn.Linear(*_DENSE[name], key=key)
        w, b = given[name]["w"].T, given[name]["b"]
        return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (jnp.asarray(w), jnp.asarray(b)))

    tanh, pool = eqx.nn.Lambda(jnp.tanh), eqx.nn.AvgPool2d(2, 2)
    model = eqx.nn.Sequential(
        [
            *(convolution("c1"), tanh, pool, convolution("c3"), tanh, pool, convolution("c5"), tanh),
            *(eqx.nn.Lambda(jnp.ravel), dense("f6"), tanh, dense("output")),
        ]
    )
    params, rest = eqx.partition(model, eqx.is_inexact_array)
    step = _stateful(lambda params, x: jax.vmap(eqx.combine(params, rest))(x), params)
    return lambda x, labels: step(_channels_first(x), labels)


def _torch(given: Weights, *, compiled: bool = False) -> Step:
    import torch
    from torch import nn

    def convolution(name: str) -> Any:
        layer = nn.Conv2d(*_CONVOLUTIONS[name], 5)
        return filled(layer, given[name]["w"].transpose(3, 2, 0, 1), given[name]["b"])

    def filled(layer: Any, w: np.ndarray, b: np.ndarray) -> Any:
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(w.copy()))
            layer.bias.copy_(torch.from_numpy(b.copy()))
        return layer

    def dense(name: str) -> Any:
        return filled(nn.Linear(*_DENSE[name]), given[name]["w"].T, given[name]["b"])

    model = nn.Sequential(
        *(convolution("c1"), nn.Tanh(), nn.AvgPool2d(2), convolution("c3"), nn.Tanh(), nn.AvgPool2d(2)),
        *(convolution("c5"), nn.Tanh(), nn.Flatten(), dense("f6"), nn.Tanh(), dense("output")),
    )
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)

    def loss_of(x: Any, labels: Any) -> Any:
        return nn.functional.cross_entropy(model(x), labels)

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def step(x: np.ndarray, labels: np.ndarray) -> Any:
        optimizer.zero_grad()
        loss = loss_of(torch.from_numpy(_channels_first(x)), torch.from_numpy(labels).long())
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _channels_first(x: np.ndarray) -> np.ndarray:
    """(N, H, W, 1) -> (N, 1, H, W); with one channel only the shape changes."""
    return x.reshape(len(x), 1, *x.shape[1:3])


IMPLEMENTATIONS: dict[str, Callable[[Weights], Step]] = {
    "cnnjax": _cnnjax,
    "cnnjax, method=lax": lambda given: _cnnjax(given, "lax"),
    "flax": _flax,
    "equinox": _equinox,
    "torch": _torch,
    "torch, compiled": lambda given: _torch(given, compiled=True),
}
"""{implementation: function of the initial weights that returns the step (images, labels) -> loss}."""
