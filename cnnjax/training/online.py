"""A pass over the training set as one compiled program: online training, one image per step.

A step of one image takes less time than its dispatch from Python. Here the steps run inside `jax.lax.scan`, so a
million of them take minutes.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from cnnjax.layers import Network
from cnnjax.losses import Loss
from cnnjax.training.step import Augment, TrainState, make_step

__all__ = ["make_pass"]


def make_pass(
    network: Network, loss: Loss, optimizer: optax.GradientTransformation, augment: Augment | None = None
) -> Callable[[TrainState, ArrayLike, ArrayLike, ArrayLike, jax.Array], tuple[TrainState, jax.Array, jax.Array]]:
    """Return the jitted pass (state, images, labels, order, key) -> (state, mean loss, fraction of errors).

    Its steps are those of `cnnjax.training.make_step`; loss and errors are averages over the pass, while the
    parameters changed.

    Args:
        network: what to train.
        loss: (scores (N, classes), labels (N,)) -> scalar.
        optimizer: an optax transformation.
        augment: maps (key, prepared images (batch, H, W, C)) to as many images.

    Returns:
        The pass. Its images are uint8 (S, h, w), its labels integers (S,); `order`, integers (steps, batch), has the
        samples of each step. With a batch of 1 the parameters change after every image.

    Example:
        >>> import cnnjax
        >>> network, optimizer = cnnjax.models.lenet5(), optax.sgd(1e-3)
        >>> params = network.init(jax.random.key(0))
        >>> state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
        >>> images, labels = jnp.zeros((3, 28, 28), jnp.uint8), jnp.array([3, 1, 4])
        >>> one_pass = make_pass(network, cnnjax.losses.map_loss, optimizer)
        >>> state, value, errors = one_pass(state, images, labels, jnp.array([[2], [0], [1]]), jax.random.key(1))
        >>> int(state.step)
        3

    Source: LeCun et al. 1998, section III.B, train LeNet-5 on one image in each step, in a constant random order.
    """
    step = make_step(network, loss, optimizer, augment)

    @jax.jit
    def one_pass(
        state: TrainState, images: ArrayLike, labels: ArrayLike, order: ArrayLike, key: jax.Array
    ) -> tuple[TrainState, jax.Array, jax.Array]:
        images, labels, order = jnp.asarray(images), jnp.asarray(labels), jnp.asarray(order)

        def body(state: TrainState, rows: jax.Array) -> tuple[TrainState, tuple[jax.Array, jax.Array]]:
            state, value, wrong = step(state, images[rows], labels[rows], key)
            return state, (value, wrong)

        state, (losses, wrong) = jax.lax.scan(body, state, order)
        return state, jnp.mean(losses), jnp.sum(wrong) / order.size

    return one_pass
