"""Stochastic diagonal Levenberg-Marquardt: one learning rate for each parameter, from an estimate of the curvature.

The estimate is that of the 1998 paper. Second derivatives are backpropagated like first derivatives, without two kinds
of terms: those off the diagonal, and those with a second derivative of an activation function. What is left is
positive. For a unit i with inputs x_j, weights u_ij, sum a_i and output f(a_i)::

    d2E/da_i^2 = f'(a_i)^2 * sum_k u_ki^2 d2E/da_k^2          d2E/du_ij^2 = d2E/da_i^2 * x_j^2

and the curvature h of a parameter is the sum of d2E/du_ij^2 over the connections that share it, averaged over images.
It equals the diagonal of the Gauss-Newton matrix where no parameter is shared and every unit reaches the loss by one
path, and costs one backward pass, while the exact diagonal costs one for each output.

Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition", appendix C.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax.layers import AvgPool2D, Conv2D, Dense, Layer, MaxPool2D, Network, Params, Subsample2D
from cnnjax.layers.base import activation_function
from cnnjax.losses import Loss
from cnnjax.pooling import subsample2d

__all__ = ["CurvatureState", "curvature", "levenberg_marquardt", "scale_by_curvature", "with_curvature"]


class CurvatureState(NamedTuple):
    """The state of `scale_by_curvature`.

    Attributes:
        curvature: h of every parameter, a pytree like the parameters.
    """

    curvature: optax.Params


def levenberg_marquardt(
    learning_rate: optax.ScalarOrSchedule, *, damping: float = 0.02
) -> optax.GradientTransformation:
    """Return the optimizer with the step eta / (mu + h) for a parameter of curvature h::

        w <- w - learning_rate / (damping + h) * dE/dw

    The curvature is zero at first and does not change until `with_curvature` replaces it in the state; the paper does
    so before each pass over the training set.

    Args:
        learning_rate: eta, a number or an optax schedule.
        damping: mu, which bounds the step where the loss is flat.

    Raises:
        ValueError: for a damping that is not positive.

    Example:
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
    """Return the transformation that divides each gradient by damping + h, to chain with other optax transformations.

    Args:
        damping: mu, which bounds the step where the loss is flat; h is the curvature in the state.

    Raises:
        ValueError: for a damping that is not positive.

    Example:
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


def with_curvature(state: optax.OptState, value: optax.Params) -> optax.OptState:
    """Return the state of an optimizer with another curvature.

    Args:
        state: that of an optimizer that contains `scale_by_curvature`.
        value: a pytree like the parameters, as `curvature` returns it.

    Raises:
        KeyError: by optax, when there is no `CurvatureState` in the state.

    Example:
        >>> state = levenberg_marquardt(0.1).init(jnp.ones(3))
        >>> print(with_curvature(state, jnp.array([1.0, 2.0, 3.0]))[0].curvature)
        [1. 2. 3.]
    """
    return optax.tree.set(state, curvature=value)


def curvature(
    network: Network, loss: Loss, params: Mapping[str, Params], images: ArrayLike, labels: ArrayLike
) -> dict[str, Params]:
    """Estimate h = d2E/dw^2 of each parameter w of a network on a few hundred images, as this module describes.

    The backward pass starts from the diagonal of the second derivative of the loss with respect to the scores. If the
    last layer computes distances (the smallest output names the class), it starts from the input of that layer, with
    the second derivative of the loss through the distances.

    Args:
        network: its layers are those of `cnnjax.layers`, except for a last layer that computes distances.
        loss: (scores (N, classes), labels (N,)) -> the mean over images.
        params: the parameters at which to estimate h.
        images: prepared images (N, H, W, C); the paper takes 500.
        labels: integers (N,).

    Returns:
        `{layer: {"w": ..., "b": ...}}`, arrays like the parameters, not negative.

    Raises:
        TypeError: for any other layer, or a network with branches.

    Example:
        >>> import cnnjax
        >>> network = cnnjax.models.lenet5()
        >>> h = curvature(network, cnnjax.losses.mle_loss, network.init(jax.random.key(0)),
        ...               jnp.ones((2, 32, 32, 1)), jnp.array([3, 7]))
        >>> print(h["f6"]["b"][0])                     # 2 f'(a)^2
        2.6...

    Source: LeCun et al. 1998, appendix C, equations 23 to 27.
    """
    if network.branches:
        name, reads = network.branches[0]
        raise type_error(
            "curvature",
            name,
            got=f"reading {', '.join(reads)}",
            expected="layers that read the volume before them",
            fix="use another optimizer for this network",
        )
    volumes = network.volumes(params, images)
    classes = jnp.asarray(labels)
    reads = network.input_names()
    layers = list(network.layers)
    outputs, objective = volumes[layers[-1][0]], loss
    found: dict[str, Params] = {}
    if network.smallest_wins:  # distances are not sums of products, so the loss is differentiated through them
        name, last = layers.pop()
        outputs, own = volumes[reads[name]], dict(params.get(name, {}))

        def loss_of_input(params: Params, x: jax.Array, labels: jax.Array) -> jax.Array:
            return loss(last.apply(params, x), labels)

        objective = partial(loss_of_input, own)
        if own:
            found[name] = {
                key: _hessian_diagonal(lambda w, key=key: loss_of_input({**own, key: w}, outputs, classes), value)
                for key, value in own.items()
            }

    # The loss of one image at a time; the loss of the batch is their mean.
    per_image = jax.vmap(lambda x, label: _hessian_diagonal(lambda x: objective(x[None], label[None]), x))
    above = per_image(outputs, classes) / len(classes)
    for name, layer in reversed(layers):
        own, above = _backpropagate(name, layer, dict(params.get(name, {})), volumes[reads[name]], above)
        if own:
            found[name] = own
    return {name: found[name] for name in params}


def _hessian_diagonal(f: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Return the diagonal of the second derivative of a scalar function."""
    shape, flat = x.shape, x.reshape(-1)
    gradient = jax.grad(lambda v: f(v.reshape(shape)))

    def second_derivative(i: jax.Array) -> jax.Array:
        return jax.jvp(gradient, (flat,), (jnp.zeros_like(flat).at[i].set(1),))[1][i]

    return jax.lax.map(second_derivative, jnp.arange(flat.size), batch_size=128).reshape(shape)


def _backpropagate(name: str, layer: Layer, params: Params, x: jax.Array, above: jax.Array) -> tuple[Params, jax.Array]:
    """Return the second derivatives of a layer's parameters and of its input, from those of its output.

    The derivatives of a sum of products are its factors, so their squares are the squares of the factors: the rule of
    the paper is the ordinary backward pass of the same layer on squared inputs and squared weights.
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
    _, slope = jax.jvp(activation_function(layer.activation), (sums,), (jnp.ones_like(sums),))
    above = above * slope**2
    if isinstance(layer, MaxPool2D):
        return {}, jax.vjp(lambda x: linear.apply({}, x), x)[1](above)[0]
    if isinstance(layer, AvgPool2D):

        def window_sums(x: jax.Array) -> jax.Array:
            ones = jnp.ones(x.shape[-1:], x.dtype)
            return subsample2d(
                x,
                ones,
                window=layer.window,
                stride=layer.stride,
                padding=layer.padding,
                ceil_mode=layer.ceil_mode,
            )

        ones = jnp.ones_like(x)
        weight = linear.apply({}, ones) / window_sums(ones)  # of each pixel of the image in the mean
        return {}, jax.vjp(window_sums, x)[1](above * weight**2)[0]
    squares = jax.tree.map(jnp.square, params)
    of_params, of_input = jax.vjp(linear.apply, squares, x**2)[1](above)
    return of_params, of_input
