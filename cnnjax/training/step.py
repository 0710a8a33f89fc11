"""One training step, a pure jitted function of the state, a batch and a key; the default losses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from cnnjax.layers import Network, Params
from cnnjax.losses import Loss, map_loss
from cnnjax.training import meshes

__all__ = [
    "Augment",
    "CheckedStep",
    "StepResult",
    "TrainState",
    "checked_names",
    "default_loss",
    "make_checked_step",
    "make_step",
    "softmax_cross_entropy",
]

Augment: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]
"""An augmentation: (key, prepared images (N, H, W, C)) -> as many images."""

_NOISE = 2**32 - 1
"""Folded into the key of a step for the random numbers of the network, so that they are not those of `augment`."""


class TrainState(NamedTuple):
    """What a step updates.

    Attributes:
        params: the parameters of the network.
        optimizer: the state of the optimizer.
        step: the number of steps so far, an int32 scalar.
    """

    params: dict[str, Params]
    optimizer: optax.OptState
    step: jax.Array


class StepResult(NamedTuple):
    """What a step reports: its loss, its number of errors, and which of `checked_names` are finite."""

    loss: jax.Array
    errors: jax.Array
    finite: jax.Array


CheckedStep: TypeAlias = Callable[[TrainState, ArrayLike, ArrayLike, jax.Array], tuple[TrainState, StepResult]]


def default_loss(network: Network) -> Loss:
    """Return the loss for a network: `map_loss` if its smallest output names the class, else softmax cross-entropy.

    Example:
        >>> import cnnjax
        >>> default_loss(cnnjax.models.lenet5()).__name__
        'map_loss'
    """
    return map_loss if network.smallest_wins else softmax_cross_entropy


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean softmax cross-entropy, by optax::

        E = mean_n ( log sum_i exp(logits[n, i]) - logits[n, labels[n]] )

    Args:
        logits: (N, classes).
        labels: integers (N,).

    Example:
        >>> print(softmax_cross_entropy(jnp.zeros((1, 2)), jnp.array([0])))
        0.6931472
    """
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def make_step(
    network: Network,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    augment: Augment | None = None,
    mesh: Mesh | None = None,
) -> jax.stages.Wrapped:
    """Return the jitted step (state, images, labels, key) -> (state, loss, number of errors).

    The network is evaluated by `Network.apply_training`. The optimizer updates all parameters but running statistics,
    which are replaced by those that follow from the batch.

    Args:
        network: what to train.
        loss: (scores (N, classes), labels (N,)) -> scalar.
        optimizer: an optax transformation.
        augment: maps (key, prepared images (N, H, W, C)) to as many images; the key of a step is
            `fold_in(key, state.step)`.
        mesh: the devices that share the work; the default device if None. The state is sharded by
            `meshes.shardings`, the images by `meshes.shard_batch`.

    Returns:
        The step; its images are uint8 (N, h, w), its labels integers (N,).

    Example:
        >>> import cnnjax
        >>> network, optimizer = cnnjax.models.lenet5(), optax.sgd(1e-3)
        >>> params = network.init(jax.random.key(0))
        >>> state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
        >>> step = make_step(network, default_loss(network), optimizer)
        >>> images, labels = jnp.zeros((2, 28, 28), jnp.uint8), jnp.array([3, 7])
        >>> state, loss, errors = step(state, images, labels, jax.random.key(1))
        >>> int(state.step)
        1
    """
    step = make_checked_step(network, loss, optimizer, augment, mesh)

    def unchecked(
        state: TrainState, images: ArrayLike, labels: ArrayLike, key: jax.Array
    ) -> tuple[TrainState, jax.Array, jax.Array]:
        state, result = step(state, images, labels, key)
        return state, result.loss, result.errors

    return jax.jit(unchecked)


def make_checked_step(
    network: Network,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    augment: Augment | None,
    mesh: Mesh | None,
) -> CheckedStep:
    """Return the step of `make_step`, not jitted, which also reports whether each of `checked_names` is finite."""
    apply = network.apply_training
    if mesh is not None:
        apply = meshes.shard_over_batch(partial(network.apply_training, axis_name="data"), mesh)

    def step(state: TrainState, images: ArrayLike, labels: ArrayLike, key: jax.Array) -> tuple[TrainState, StepResult]:
        x = network.input.prepare(images)
        if augment is not None:
            x = augment(jax.random.fold_in(key, state.step), x)

        noise = jax.random.fold_in(jax.random.fold_in(key, state.step), _NOISE) if network.draws else None

        def objective(params: dict[str, Params]) -> tuple[jax.Array, tuple[jax.Array, dict[str, Params]]]:
            scores, fresh = apply(params, x, noise)
            return loss(scores, jnp.asarray(labels)), (scores, fresh)

        (value, (scores, fresh)), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        updated = cast(dict[str, Params], optax.apply_updates(state.params, updates))
        params = jax.tree.map(lambda trained, a, b: a if trained else b, network.trainable(updated), updated, fresh)
        errors = jnp.sum(network.winners(scores) != labels)
        checked_gradient = () if _skips_non_finite(optimizer_state) else gradient
        checked = (value, *jax.tree.leaves(checked_gradient), *jax.tree.leaves(params))
        finite = jnp.stack([jnp.all(jnp.isfinite(array)) for array in checked])
        result = TrainState(params, optimizer_state, state.step + 1), StepResult(value, errors, finite)
        if mesh is None:
            return result
        shardings = meshes.shardings(result[0], mesh), meshes.replicated(mesh)
        return jax.lax.with_sharding_constraint(result, shardings)

    return step


def checked_names(state: TrainState) -> list[str]:
    """Return the names of what a step checks: the loss, each gradient unless the optimizer skips, each parameter."""
    paths = jax.tree.leaves_with_path(state.params)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    gradients = [] if _skips_non_finite(state.optimizer) else [f"the gradient of {name}" for name in names]
    return ["the loss", *gradients, *names]


def _skips_non_finite(optimizer_state: optax.OptState) -> bool:
    """Whether the optimizer skips steps whose gradient is not finite, so such a gradient is not divergence."""

    def skips(part: object) -> bool:
        return isinstance(part, optax.ApplyIfFiniteState)

    return any(map(skips, jax.tree.leaves(optimizer_state, is_leaf=skips)))
