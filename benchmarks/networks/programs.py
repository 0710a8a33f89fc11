"""The programs that are measured: the forward pass in evaluation mode, and a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.networks.network import Model, Network

__all__ = ["MOMENTUM", "RATE", "data", "inference", "training"]

RATE, MOMENTUM = 1e-3, 0.9
"""Of stochastic gradient descent. After the first step the momentum is the gradient, unrounded."""

Program = tuple[tuple[Any, ...], Callable[..., Any], Callable[[Any], Any]]
"""The arguments of a function, the function, and what is compared of its results."""


def data(network: Network, model: Model, shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (N, ..., C) of normal numbers, and the targets of the outputs: values, or a class for each position."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape, np.float32)
    outputs = jax.eval_shape(model.evaluate, model.params, model.state, model.inputs(x)).shape
    if network.regression:
        return x, random.standard_normal(outputs, np.float32)
    positions = (outputs[0], *(outputs[2:] if model.channels_first else outputs[1:-1]))
    return x, random.integers(0, network.outputs, positions, np.int32)


def inference(model: Model, x: np.ndarray, targets: np.ndarray) -> Program:
    """The outputs in evaluation mode."""
    return (model.params, model.state, jnp.asarray(model.inputs(x))), model.evaluate, lambda outputs: outputs


def training(model: Model, x: np.ndarray, targets: np.ndarray) -> Program:
    """A step of stochastic gradient descent: the new parameters, state and momentum, and the loss."""
    optimizer = optax.sgd(RATE, MOMENTUM)
    class_axis = 1 if model.channels_first else -1

    def loss(params: Any, state: Any, x: jax.Array, targets: jax.Array) -> tuple[jax.Array, Any]:
        outputs, state = model.train(params, state, x)
        if jnp.issubdtype(targets.dtype, jnp.floating):
            return jnp.mean(optax.huber_loss(outputs, targets)), state
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, targets, axis=class_axis)
        return jnp.mean(losses), state

    def step(params: Any, state: Any, momentum: Any, x: jax.Array, targets: jax.Array) -> tuple[Any, ...]:
        (value, state), gradient = jax.value_and_grad(loss, has_aux=True)(params, state, x, targets)
        updates, momentum = optimizer.update(gradient, momentum)
        return optax.apply_updates(params, updates), state, momentum, value

    images, wanted = jnp.asarray(model.inputs(x)), jnp.asarray(targets)
    arguments = (model.params, model.state, optimizer.init(model.params), images, wanted)
    return arguments, step, lambda results: results[2:]
