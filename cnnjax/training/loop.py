"""The training loop: epochs in an order determined by (seed, epoch), saved and resumed, with the error rate of each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from cnnjax._core.messages import value_error
from cnnjax.layers import Network, Params
from cnnjax.losses import Loss
from cnnjax.training import meshes
from cnnjax.training.checkpoints import Checkpoints
from cnnjax.training.configuration import run_configuration
from cnnjax.training.progress import ProgressBar
from cnnjax.training.runs import Position, RunCheckpointer
from cnnjax.training.step import (
    Augment,
    CheckedStep,
    StepResult,
    TrainState,
    checked_names,
    default_loss,
    make_checked_step,
)

__all__ = ["Epoch", "error_rate", "fit", "sample_order"]

_FETCH_INTERVAL = 100
"""The results of steps are fetched at least every so many steps, rarely enough not to make a device wait."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the training set.

    Attributes:
        number: from 1.
        state: parameters, optimizer state and step at its end.
        loss: the mean loss of its steps, while the parameters changed.
        error: the percentage of its images that were misclassified, while the parameters changed.
        seconds: the time that this process spent on it; after a resume, on the rest of it.
        images_per_second: the rate over the same time.
    """

    number: int
    state: TrainState
    loss: float
    error: float
    seconds: float
    images_per_second: float


def fit(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int = 64,
    seed: int = 0,
    params: Mapping[str, Params] | None = None,
    loss: Loss | None = None,
    augment: Augment | None = None,
    mesh: Mesh | None = None,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Epoch]:
    """Train a network, or resume its training; yield after each epoch.

    A run is a function of its arguments: the seed determines the initial parameters, the order of each epoch and the
    augmentation. When batch_size does not divide the number of samples, the last samples in the order of each epoch
    are left out, different ones in each epoch. On a terminal a progress bar shows images per second, the time left and
    the loss.

    With `checkpoints`, the same call resumes from the newest valid checkpoint in the folder, even in the middle of an
    epoch, and its results are bit-identical to those of an uninterrupted run. The first epoch that it yields may have
    been yielded before; `history.append` keeps each epoch once. Ctrl-C and SIGTERM first save, then end the run.

    Args:
        network: what to train.
        images: uint8 (N, h, w) or (N, h, w, C), which the step scales and centres by `network.input.prepare`.
        labels: integers (N,).
        optimizer: an optax transformation.
        epochs: the number of passes over the training set, those before a resume included.
        batch_size: the images of a step.
        seed: the seed of the run.
        params: the parameters to start from, such as pretrained ones; drawn by `network.init` if None.
        loss: (scores, labels) -> scalar; `default_loss(network)` if None.
        augment: (key, prepared images) -> images, applied in each step; none if None.
        mesh: devices that share the work, from `meshes.make_mesh`; the default device if None. It changes the results
            only by rounding, so a checkpoint from one mesh can be resumed on another.
        checkpoints: where the run is saved and resumed from; nowhere if None.

    Yields:
        An `Epoch` after each pass.

    Raises:
        ValueError: when the numbers of images and labels differ, when there are fewer images than a batch, or for a
            batch_size that the devices of the mesh cannot share equally.
        DivergedError: when the loss, a gradient or a parameter is NaN or infinite; it names the first such step, the
            tensor and the last checkpoint, which was saved before. Gradients are not checked if the optimizer skips
            such steps (`optax.apply_if_finite`, `precision.scale_loss`).
        ConfigurationError, CheckpointError, MissingExtraError: as `checkpoints.Store`.

    Example:
        >>> import cnnjax
        >>> images, labels = np.zeros((8, 28, 28), np.uint8), np.zeros(8, np.uint8)
        >>> network = cnnjax.models.four_to_six()
        >>> [epoch.number for epoch in fit(network, images, labels, optimizer=optax.sgd(0.1), epochs=2, batch_size=4)]
        [1, 2]
    """
    _check_data(len(images), len(labels), batch_size, mesh)
    if params is not None:
        network.check_params(params, "fit")
    loss = loss or default_loss(network)

    def init() -> tuple[TrainState, jax.Array]:
        init_key, augment_key = jax.random.split(jax.random.key(seed))
        start = network.init(init_key) if params is None else jax.tree.map(jnp.asarray, dict(params))
        return TrainState(start, optimizer.init(start), jnp.zeros((), jnp.int32)), augment_key

    def configuration() -> dict[str, Any]:
        state, key = jax.eval_shape(init)
        step = make_checked_step(network, loss, optimizer, augment, None)  # every mesh lowers to another program
        program = jax.jit(step).lower(state, images[:batch_size], labels[:batch_size], key).as_text()
        return run_configuration(
            network, images, labels, params=params, batch_size=batch_size, seed=seed, program=program
        )

    if mesh is None:
        state, key = init()
    else:
        state, key = jax.jit(init, out_shardings=meshes.shardings(jax.eval_shape(init), mesh))()
    batches = _Batches(images, labels, batch_size, seed, mesh)
    step = jax.jit(make_checked_step(network, loss, optimizer, augment, mesh))

    with RunCheckpointer(checkpoints, configuration) as checkpointer:
        names = checked_names(state)
        state, position = checkpointer.restore(state)
        steps_done = (position.epoch - 1) * batches.per_epoch + len(position.losses)
        with ProgressBar(epochs * batches.per_epoch * batch_size, steps_done * batch_size) as bar:
            run = _Run(batches, step, key, names, checkpointer, bar, state, position)
            del state  # the run replaces it at each step
            while run.position.epoch <= epochs:
                bar.set_title(f"epoch {run.position.epoch}/{epochs}")
                yield run.train_epoch()
                run.position = Position(run.position.epoch + 1)


@dataclass(frozen=True)
class _Batches:
    """The training set, in batches whose order is determined by the seed and the epoch."""

    images: np.ndarray
    labels: np.ndarray
    size: int
    seed: int
    mesh: Mesh | None

    @property
    def per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return len(self.images) // self.size

    def of_epoch(self, epoch: int) -> np.ndarray:
        """Return the samples of each batch of an epoch, integers (batches, size)."""
        order = sample_order(self.seed, epoch, len(self.images))
        return order[: self.per_epoch * self.size].reshape(self.per_epoch, self.size)

    def load(self, samples: np.ndarray) -> tuple[ArrayLike, ArrayLike]:
        """Return the images and labels of these samples, sharded over the mesh if there is one."""
        if self.mesh is None:
            return self.images[samples], self.labels[samples]
        images, labels = meshes.shard_batch(self.mesh, samples, self.images, self.labels)
        return images, labels


@dataclass
class _Run:
    """A run in progress: `state` and `position` change, the rest stays."""

    batches: _Batches
    step: CheckedStep
    key: jax.Array
    names: Sequence[str]
    checkpointer: RunCheckpointer
    bar: ProgressBar
    state: TrainState
    position: Position

    def train_epoch(self) -> Epoch:
        """Do the remaining steps of the current epoch: record their results, save when due, stop on a signal."""
        start = time.perf_counter()
        epoch, done = self.position.epoch, len(self.position.losses)
        remaining = self.batches.of_epoch(epoch)[done:]
        first = (epoch - 1) * self.batches.per_epoch + done + 1
        results: list[StepResult] = []
        for number, samples in enumerate(remaining, first):
            self.state, result = self.step(self.state, *self.batches.load(samples), self.key)
            results.append(result)
            self.bar.advance(self.batches.size)
            stop = self.checkpointer.should_stop(number)
            save = stop or self.checkpointer.should_save(number) or number == epoch * self.batches.per_epoch
            if save or len(results) == _FETCH_INTERVAL:
                self.position.record(results, number, self.names, self.checkpointer.describe_last)
                self.bar.show_loss(self.position.losses[-1])
                results = []
            if save:
                self.checkpointer.save(number, self.state, self.position)
            if stop:
                self.bar.hide()
                self.checkpointer.stop(number)
        self.bar.hide()
        seconds = time.perf_counter() - start
        losses, errors = self.position.losses, self.position.errors
        error = 100 * sum(errors) / (self.batches.per_epoch * self.batches.size)
        return Epoch(epoch, self.state, float(np.mean(losses)), error, seconds, remaining.size / seconds)


def sample_order(seed: int, epoch: int, samples: int) -> np.ndarray:
    """Return the order in which an epoch visits the samples: a permutation determined by (seed, epoch).

    Args:
        seed: the seed of the run.
        epoch: the number of the epoch.
        samples: the number of samples.

    Returns:
        Integers (samples,).

    Example:
        >>> bool((sample_order(0, 3, 100) == sample_order(0, 3, 100)).all())
        True
    """
    return np.random.default_rng((seed, epoch)).permutation(samples)


def error_rate(
    network: Network, params: dict[str, Params], images: np.ndarray, labels: np.ndarray, batch_size: int = 500
) -> float:
    """Return the percentage of images that a network misclassifies::

        100 / N * sum_n [classify(images[n]) != labels[n]]

    Args:
        network: the network.
        params: its parameters.
        images: uint8 (N, h, w).
        labels: integers (N,).
        batch_size: how many images are classified at a time.

    Example:
        >>> import cnnjax
        >>> network = cnnjax.models.lenet_tutorial()
        >>> params = network.init(jax.random.key(0))                       # all logits are zero: class 0 for all
        >>> error_rate(network, params, np.zeros((4, 28, 28), np.uint8), np.array([0, 1, 2, 3]))
        75.0
    """
    wrong = [
        int(np.sum(np.asarray(_classify(network, params, images[i : i + batch_size])) != labels[i : i + batch_size]))
        for i in range(0, len(images), batch_size)
    ]
    return 100 * sum(wrong) / len(images)


@jax.jit(static_argnums=0)
def _classify(network: Network, params: dict[str, Params], images: np.ndarray) -> jax.Array:
    return network.classify(params, network.input.prepare(images))


def _check_data(samples: int, labels: int, batch_size: int, mesh: Mesh | None) -> None:
    if labels != samples or samples < batch_size or batch_size < 1:
        raise value_error(
            "fit",
            "images",
            got=f"{samples} images, with {labels} labels, in batches of {batch_size}",
            expected="as many labels as images, and at least one batch",
            fix="check the labels, or use a smaller batch_size",
        )
    parts = 1 if mesh is None else mesh.shape["data"]
    if batch_size % parts:
        raise value_error(
            "fit",
            "batch_size",
            got=f"{batch_size}",
            expected=f'a multiple of {parts}, the devices along the mesh\'s axis "data"',
            fix=f"use batch_size={parts * max(batch_size // parts, 1)}",
        )
