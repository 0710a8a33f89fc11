"""The networks of keras.applications on keras's JAX backend, channels last."""

from __future__ import annotations

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras

from benchmarks.networks.network import Model

__all__ = ["build"]

_MODELS = {"ResNet-50": keras.applications.ResNet50, "MobileNetV2": keras.applications.MobileNetV2}


def build(name: str, shape: tuple[int, ...], seed: int) -> Model:
    """The network of that name for inputs of a shape (N, ..., C), with random weights as keras initializes them."""
    keras.utils.set_random_seed(seed)
    model = _MODELS[name](weights=None, input_shape=shape[1:], classifier_activation=None)
    params = [variable.value for variable in model.trainable_variables]
    state = [variable.value for variable in model.non_trainable_variables]

    def evaluate(params: Any, state: Any, x: jax.Array) -> jax.Array:
        return model.stateless_call(params, state, x, training=False)[0]

    def train(params: Any, state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        return model.stateless_call(params, state, x, training=True)

    return Model(params, state, evaluate, train)
