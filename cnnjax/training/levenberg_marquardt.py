"""Stochastic diagonal Levenberg-Marquardt: one learning rate a parameter, from an estimate of the curvature there.

The estimate is that of the 1998 paper. Second derivatives are propagated back as first derivatives are, with two
terms left out: those that are not on the diagonal, and those with a second derivative of a squashing function. What
is left is positive. For a unit i with inputs x_j, weights u_ij, sum a_i and output f(a_i):

    d2E/da_i^2 = f'(a_i)^2 * sum_k u_ki^2 d2E/da_k^2          d2E/du_ij^2 = d2E/da_i^2 * x_j^2

and the curvature h of a parameter is the sum of d2E/du_ij^2 over the connections that share it, averaged over images.
It equals the diagonal of the Gauss-Newton matrix where no parameter is shared and every unit reaches the loss by one
path, and costs one backward pass; the exact diagonal costs one for each output.

Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition", appendix C.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax.activations import ACTIVATIONS
from cnnjax.layers import AvgPool2D, Conv2D, Dense, MaxPool2D, Network, Params, Subsample2D
from cnnjax.losses import Loss
from cnnjax.pooling import subsample2d

__all__ = ["CurvatureState", "curvature", "levenberg_marquardt", "scale_by_curvature", "with_curvature"]


class CurvatureState(NamedTuple):
    """The curvature of every parameter, a pytree like the parameters."""

    curvature: Any


def levenberg_marquardt(
    learning_rate: optax.ScalarOrSchedule, *, damping: float = 0.02
) -> optax.GradientTransformation:
    """Gradient descent with the step eta / (mu + h) for a parameter of curvature h.

        w <- w - learning_rate / (damping + h) * dE/dw

    `damping` is mu, which bounds the step where the loss is flat. The curvature stays as it is until `with_curvature`
    puts another one in the state; the paper does so before each pass over the training set. At first it is zero.

    Raises:
        ValueError: for a damping that is not positive.

    >>> import cnnjax
    >>> network = cnnjax.models.lenet5()
    >>> params = network.init(jax.random.key(0))
    >>> optimizer = levenberg_marquardt(0.0005)
    >>> state = optimizer.init(params)
    >>> images, labels = jnp.zeros((2, 32, 32, 1)), jnp.array([3, 7])
    >>> state = with_curvature(state, curvature(network, cnnjax.losses.mle_loss, params, images, labels))
    >>> updates, state = optimizer.update(params, state)

    Source: LeCun et al. 1998, appendix C, equations 20 to 22.
    """
    return optax.chain(scale_by_curvature(damping=damping), optax.scale_by_learning_rate(learning_rate))


def scale_by_curvature(*, damping: float = 0.02) -> optax.GradientTransformation:
    """Divide each gradient by damping + h, where h is the curvature in the state; to chain with others of optax.

    Raises:
        ValueError: for a damping that is not positive.

    >>> transformation = scale_by_curvature(damping=0.5)
    >>> state = with_curvature(transformation.init(jnp.ones(2)), jnp.array([0.0, 1.5]))
    >>> print(transformation.update(jnp.ones(2), state)[0])
    [2.  0.5]

    Source: LeCun et al. 1998, appendix C, equation 21.
    """
    if not isinstance(damping, (int, float)) or not damping > 0:
        raise value_error(
            "scale_by_curvature",
            "damping",
            got=describe(damping),
            expected="a positive number",
            fix="use damping=0.02, the paper's",
        )

    def init(params: optax.Params) -> CurvatureState:
        return CurvatureState(jax.tree.map(jnp.zeros_like, params))

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        assert isinstance(state, CurvatureState)
        return jax.tree.map(lambda g, h: g / (damping + h), updates, state.curvature), state

    return optax.GradientTransformation(init, update)


def with_curvature(state: optax.OptState, value: Any) -> optax.OptState:
    """Return the state of an optimizer with another curvature in it.

    Raises:
        KeyError: by optax, when there is no `CurvatureState` in the state.

    >>> state = levenberg_marquardt(0.1).init(jnp.ones(3))
    >>> print(with_curvature(state, jnp.array([1.0, 2.0, 3.0]))[0].curvature)
    [1. 2. 3.]
    """
    return optax.tree.set(state, curvature=value)


def curvature(
    network: Network, loss: Loss, params: Mapping[str, Any], images: ArrayLike, labels: ArrayLike
) -> dict[str, dict[str, jax.Array]]:
    """Estimate d2E/dw^2 of each parameter w of a network on a few hundred images; never negative.

    Args:
        network: its layers are those of `cnnjax.layers`.
        loss: (scores (N, classes), labels (N,)) -> the mean over images.
        params: the parameters at which to estimate it.
        images: prepared images (N, H, W, C); the paper takes 500.
        labels: integers (N,).

    Returns:
        `{layer: {"w": ..., "b": ...}}`, arrays like the parameters.

    At the output it starts from the diagonal of the second derivative of the loss by the scores, or, after RBF units,
    by what they read, where it is that of the whole loss.

    Raises:
        TypeError: for a layer that is not one of `cnnjax.layers`.

    >>> import cnnjax
    >>> network = cnnjax.models.lenet5()
    >>> h = curvature(network, cnnjax.losses.mle_loss, network.init(jax.random.key(0)),
    ...               jnp.ones((2, 32, 32, 1)), jnp.array([3, 7]))
    >>> print(h["f6"]["b"][0])                     # 2 f'(a)^2
    2.6...

    Source: LeCun et al. 1998, appendix C, equations 23 to 27.
    """
    volumes = network.volumes(params, images)
    labels = jnp.asarray(labels)
    layers = list(zip(network.layers, volumes.values(), strict=False))  # each with what it reads

    outputs, objective = volumes[network.layers[-1][0]], loss
    found: dict[str, dict[str, jax.Array]] = {}
    name, last = network.layers[-1]
    if network.smallest_wins:  # distances: no sum of products, so the loss is differentiated through them
        _, outputs = layers.pop()
        given = dict(params.get(name, {}))
        through = lambda given, x, labels: loss(last.apply(given, x), labels)  # noqa: E731
        objective = partial(through, given)
        if given:
            found[name] = {
                key: _diagonal(lambda w, key=key: through({**given, key: w}, outputs, labels), value)
                for key, value in given.items()
            }

    # The loss of one image at a time: that of the batch is their mean.
    one = jax.vmap(lambda x, label: _diagonal(lambda x: objective(x[None], label[None]), x))
    above = one(outputs, labels) / len(labels)
    for (name, layer), x in reversed(layers):
        given, above = _back(name, layer, dict(params.get(name, {})), x, above)
        if given:
            found[name] = given
    return {name: found[name] for name in params}


def _diagonal(f: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """The diagonal of the second derivative of a scalar function."""
    shape, flat = x.shape, x.reshape(-1)
    gradient = jax.grad(lambda v: f(v.reshape(shape)))
    along = lambda i: jax.jvp(gradient, (flat,), (jnp.zeros_like(flat).at[i].set(1),))[1][i]  # noqa: E731
    return jax.lax.map(along, jnp.arange(flat.size), batch_size=128).reshape(shape)


def _back(
    name: str, layer: Any, params: Params, x: jax.Array, above: jax.Array
) -> tuple[dict[str, jax.Array], jax.Array]:
    """From d2E/dy^2 of what a layer gives to those of its parameters and of what it reads.

    A sum of products has the squares of its factors as the squares of its derivatives: the rule of the paper is the
    ordinary backward pass of the same layer on squared inputs and squared weights.
    """
    if not isinstance(layer, (AvgPool2D, Conv2D, Dense, MaxPool2D, Subsample2D)):
        raise type_error(
            "curvature",
            name,
            got=describe(layer),
            expected="a layer of cnnjax.layers, with RBF units only at the end",
            fix="use another optimizer for this network",
        )
    linear = dataclasses.replace(layer, activation="identity")
    sums = linear.apply(params, x)
    squash = ACTIVATIONS[layer.activation] if isinstance(layer.activation, str) else layer.activation
    _, slope = jax.jvp(squash, (sums,), (jnp.ones_like(sums),))
    above = above * slope**2
    if isinstance(layer, MaxPool2D):
        return {}, jax.vjp(lambda x: linear.apply({}, x), x)[1](above)[0]
    if isinstance(layer, AvgPool2D):
        add = lambda x: subsample2d(x, jnp.ones(x.shape[-1:], x.dtype), **_windows(layer))  # noqa: E731
        return {}, jax.vjp(add, x)[1](above / add(jnp.ones_like(x)) ** 2)[0]
    squares = jax.tree.map(jnp.square, params)
    given, below = jax.vjp(linear.apply, squares, x**2)[1](above)
    return given, below


def _windows(layer: AvgPool2D) -> dict[str, Any]:
    return {"window": layer.window, "stride": layer.stride, "padding": layer.padding}
