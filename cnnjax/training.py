"""The training loop: a pure jitted step of optax, epochs in an order fixed by (seed, epoch), error rates."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from cnnjax._errors import ArgumentValueError, CnnjaxError, complaint
from cnnjax.layers import RBF, Network
from cnnjax.losses import map_loss

__all__ = [
    "DivergedError",
    "Epoch",
    "TrainState",
    "default_loss",
    "error_rate",
    "fit",
    "make_step",
    "random_shift",
    "sample_order",
    "softmax_cross_entropy",
]

Loss = Callable[[jax.Array, jax.Array], jax.Array]
Augment = Callable[[jax.Array, jax.Array], jax.Array]


class DivergedError(CnnjaxError, ArithmeticError):
    """The loss became NaN or infinite."""


class TrainState(NamedTuple):
    """What a step maps to its successor: parameters, the optimizer's state, and how many steps were made."""

    params: Any
    optimizer: Any
    step: jax.Array


@dataclass(frozen=True)
class Epoch:
    """One pass over the training set. `loss` and `error` (in %) are averages over it, while the weights changed."""

    number: int
    state: TrainState
    loss: float
    error: float
    seconds: float
    images_per_second: float


def default_loss(network: Network) -> Loss:
    """The loss of a network's last layer: `map_loss` after RBF units, else the softmax cross-entropy.

    >>> import cnnjax
    >>> default_loss(cnnjax.models.lenet5()).__name__
    'map_loss'
    """
    return map_loss if isinstance(network.layers[-1][1], RBF) else softmax_cross_entropy


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return mean_n ( log sum_i exp(logits[n, i]) - logits[n, labels[n]] ), by optax."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def sample_order(seed: int, epoch: int, samples: int) -> np.ndarray:
    """The order in which an epoch visits the samples: a permutation that depends on (seed, epoch) alone.

    >>> bool((sample_order(0, 3, 100) == sample_order(0, 3, 100)).all())
    True
    """
    return np.random.default_rng((seed, epoch)).permutation(samples)


def random_shift(key: jax.Array, images: jax.Array, pixels: int = 1) -> jax.Array:
    """Shift each of the images (N, H, W, C) by -pixels .. +pixels rows and columns; its edge is repeated.

    >>> random_shift(jax.random.key(0), jnp.zeros((2, 32, 32, 1))).shape
    (2, 32, 32, 1)
    """
    count, height, width, maps = images.shape
    wide = jnp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    corners = jax.random.randint(key, (count, 2), 0, 2 * pixels + 1)
    crop = lambda image, corner: jax.lax.dynamic_slice(image, (*corner, 0), (height, width, maps))  # noqa: E731
    return jax.vmap(crop)(wide, corners)


def make_step(
    network: Network, loss: Loss, optimizer: optax.GradientTransformation, augment: Augment | None = None
) -> Callable[[TrainState, ArrayLike, ArrayLike, jax.Array], tuple[TrainState, jax.Array, jax.Array]]:
    """Return the jitted step (state, images, labels, key) -> (state, loss, number of errors).

    images are uint8 (N, h, w), labels integers (N,). `augment(key, images)` maps the prepared images (N, H, W, C) to
    as many others; the key of a step is `fold_in(key, state.step)`.
    """

    @jax.jit
    def step(
        state: TrainState, images: ArrayLike, labels: ArrayLike, key: jax.Array
    ) -> tuple[TrainState, jax.Array, jax.Array]:
        x = network.input.prepare(images)
        if augment is not None:
            x = augment(jax.random.fold_in(key, state.step), x)

        def objective(params: Any) -> tuple[jax.Array, jax.Array]:
            scores = network.apply(params, x)
            return loss(scores, jnp.asarray(labels)), scores

        (value, scores), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        errors = jnp.sum(network.winners(scores) != labels)
        return TrainState(params, optimizer_state, state.step + 1), value, errors

    return step


def fit(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int = 64,
    seed: int = 0,
    loss: Loss | None = None,
    augment: Augment | None = None,
) -> Iterator[Epoch]:
    """Train a network from its initialisation and yield after each epoch.

    The run is a function of its arguments: the seed fixes the initial parameters, the order of each epoch and the
    augmentation. On a terminal a progress bar shows the rate and the loss; in a log there is none. When batch_size
    does not divide the number of samples, the last samples of each epoch's order are left out, others every time.

    Args:
        network: what to train.
        images: uint8 (N, h, w); scaled and centred by `network.input.prepare` in the step.
        labels: integers (N,).
        optimizer: an optax transformation.
        epochs, batch_size, seed: integers.
        loss: (scores, labels) -> scalar; `default_loss(network)` if None.
        augment: (key, prepared images) -> images, on the fly; none if None.

    Raises:
        ValueError: for images and labels of different number, or fewer than a batch.
        DivergedError: when the loss of an epoch is NaN or infinite.

    >>> import cnnjax
    >>> images, labels = np.zeros((8, 28, 28), np.uint8), np.zeros(8, np.uint8)
    >>> network = cnnjax.models.four_to_six()
    >>> [epoch.number for epoch in fit(network, images, labels, optimizer=optax.sgd(0.1), epochs=2, batch_size=4)]
    [1, 2]
    """
    samples = len(images)
    if len(labels) != samples or samples < batch_size or batch_size < 1:
        raise ArgumentValueError(
            complaint(
                "fit",
                "images",
                got=f"{samples} images, with {len(labels)} labels, in batches of {batch_size}",
                expected="as many labels as images, and at least one batch",
                fix="check the labels, or use a smaller batch_size",
            )
        )
    init_key, augment_key = jax.random.split(jax.random.key(seed))
    params = network.init(init_key)
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    step = make_step(network, loss or default_loss(network), optimizer, augment)
    batches = samples // batch_size
    for number in range(1, epochs + 1):
        start = time.perf_counter()
        order = sample_order(seed, number, samples)[: batches * batch_size].reshape(batches, batch_size)
        losses, errors = [], []
        for rows in _progress(order, f"epoch {number}/{epochs}"):
            state, value, wrong = step(state, images[rows], labels[rows], augment_key)
            losses.append(value)
            errors.append(wrong)
        mean_loss = float(jnp.mean(jnp.stack(losses)))
        if not np.isfinite(mean_loss):
            first = int(np.flatnonzero(~np.isfinite(np.array(losses)))[0])
            raise DivergedError(
                f"fit: the loss became {losses[first]} in epoch {number}, batch {first}; try a smaller learning rate."
            )
        seconds = time.perf_counter() - start
        error = 100 * float(jnp.sum(jnp.stack(errors))) / order.size
        yield Epoch(number, state, mean_loss, error, seconds, order.size / seconds)


def error_rate(network: Network, params: Any, images: np.ndarray, labels: np.ndarray, batch_size: int = 500) -> float:
    """The percentage of uint8 images (N, h, w) that a network puts in another class than their label.

    >>> import cnnjax
    >>> network = cnnjax.models.lenet_tutorial()
    >>> params = network.init(jax.random.key(0))                        # all logits are zero: class 0 for all
    >>> error_rate(network, params, np.zeros((4, 28, 28), np.uint8), np.array([0, 1, 2, 3]))
    75.0
    """
    wrong = [
        int(np.sum(np.asarray(_classify(network, params, images[i : i + batch_size])) != labels[i : i + batch_size]))
        for i in range(0, len(images), batch_size)
    ]
    return 100 * sum(wrong) / len(images)


@jax.jit(static_argnums=0)
def _classify(network: Network, params: Any, images: np.ndarray) -> jax.Array:
    return network.classify(params, network.input.prepare(images))


def _progress(batches: np.ndarray, title: str) -> Any:
    """Show a bar on a terminal, where tqdm is installed."""
    if not sys.stderr.isatty():
        return batches
    try:
        from tqdm import tqdm
    except ImportError:
        return batches
    return tqdm(batches, desc=title, unit="batch", leave=False)
