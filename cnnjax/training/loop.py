"""The training loop: a pure jitted step of optax, epochs in an order fixed by (seed, epoch), error rates.

A run is a function of its arguments, and stays it when it is killed and started again: see `fit` and docs/training.md.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from cnnjax._core.messages import value_error
from cnnjax.layers import Network
from cnnjax.losses import Loss, map_loss
from cnnjax.training import meshes
from cnnjax.training.checkpoints import PROGRAM, Checkpoints
from cnnjax.training.runs import Bar, Keeper, Position

__all__ = [
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

Augment = Callable[[jax.Array, jax.Array], jax.Array]
"""An augmentation: (key, prepared images (N, H, W, C)) -> as many images."""

_LOOK = 100
"""After so many steps at most their results are fetched: seldom enough that no device waits for it."""


class TrainState(NamedTuple):
    """What a step maps to its successor: parameters, the optimizer's state, and how many steps were made."""

    params: Any
    optimizer: Any
    step: jax.Array


@dataclass(frozen=True)
class Epoch:
    """One pass over the training set. `loss` and `error` (in %) are averages over it, while the weights changed.

    `seconds` and `images_per_second` are of this process: those of an epoch that goes on from a checkpoint count what
    was left of it.
    """

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
    return map_loss if network.smallest_wins else softmax_cross_entropy


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
    network: Network,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    augment: Augment | None = None,
    mesh: Mesh | None = None,
) -> jax.stages.Wrapped:
    """Return the jitted step (state, images, labels, key) -> (state, loss, number of errors).

    images are uint8 (N, h, w), labels integers (N,). `augment(key, images)` maps the prepared images (N, H, W, C) to
    as many others; the key of a step is `fold_in(key, state.step)`. On a mesh the state stays spread as
    `meshes.shardings` says, and the images come as `meshes.batch` spreads them.
    """
    step = _step(network, loss, optimizer, augment, mesh)
    return jax.jit(lambda state, images, labels, key: step(state, images, labels, key)[:3])


def _step(
    network: Network,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    augment: Augment | None,
    mesh: Mesh | None,
) -> Callable[..., tuple[TrainState, jax.Array, jax.Array, jax.Array]]:
    """The step of `make_step`, which says besides whether each of `_watched` is finite."""
    apply = network.apply if mesh is None else meshes.over_batch(network.apply, mesh)

    def step(
        state: TrainState, images: ArrayLike, labels: ArrayLike, key: jax.Array
    ) -> tuple[TrainState, jax.Array, jax.Array, jax.Array]:
        x = network.input.prepare(images)
        if augment is not None:
            x = augment(jax.random.fold_in(key, state.step), x)

        def objective(params: Any) -> tuple[jax.Array, jax.Array]:
            scores = apply(params, x)
            return loss(scores, jnp.asarray(labels)), scores

        (value, scores), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        errors = jnp.sum(network.winners(scores) != labels)
        watched = (value, *jax.tree.leaves(() if _skips(optimizer_state) else gradient), *jax.tree.leaves(params))
        finite = jnp.stack([jnp.all(jnp.isfinite(of)) for of in watched])
        result = TrainState(params, optimizer_state, state.step + 1), value, errors, finite
        if mesh is None:
            return result
        whole = meshes.everywhere(mesh)
        return jax.lax.with_sharding_constraint(result, (meshes.shardings(result[0], mesh), whole, whole, whole))

    return step


def _watched(state: TrainState) -> list[str]:
    paths = jax.tree.leaves_with_path(state.params)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    gradients = [] if _skips(state.optimizer) else [f"the gradient of {name}" for name in names]
    return ["the loss", *gradients, *names]


def _skips(optimizer_state: Any) -> bool:
    """Whether the optimizer leaves out steps whose gradient is not finite: then such a gradient ends no run."""
    of_skipping = lambda part: isinstance(part, optax.ApplyIfFiniteState)  # noqa: E731
    return any(map(of_skipping, jax.tree.leaves(optimizer_state, is_leaf=of_skipping)))


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
    mesh: Mesh | None = None,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Epoch]:
    """Train a network from its initialisation, or from where the run was when it was stopped; yield after each epoch.

    The run is a function of its arguments: the seed fixes the initial parameters, the order of each epoch and the
    augmentation. On a terminal a progress bar shows images a second, the time left and the loss; in a log there is
    none. When batch_size does not divide the number of samples, the last samples of each epoch's order are left out,
    others every time.

    With `checkpoints` the same call goes on from the newest sound checkpoint in that folder, in the middle of an epoch
    too, and ends with the bits of a run that never stopped. The first epoch it yields may have been yielded before:
    `history.append` keeps each once. Ctrl-C and SIGTERM save and then end the run.

    Args:
        network: what to train.
        images: uint8 (N, h, w); scaled and centred by `network.input.prepare` in the step.
        labels: integers (N,).
        optimizer: an optax transformation.
        epochs, batch_size, seed: integers.
        loss: (scores, labels) -> scalar; `default_loss(network)` if None.
        augment: (key, prepared images) -> images, on the fly; none if None.
        mesh: devices to share the work, from `meshes.make_mesh`; the first device alone if None. It changes the
            result by no more than rounding, so a checkpoint of one mesh goes on on another.
        checkpoints: where the run saves itself and goes on from; nowhere if None.

    Raises:
        ValueError: for images and labels of different number, fewer than a batch, or a batch that the mesh cannot
            share out.
        DivergedError: when the loss, a gradient or a parameter is NaN or infinite; names the first step, the tensor and
            the last checkpoint, which is from before. Gradients are not watched where the optimizer skips such steps
            (`optax.apply_if_finite`, `precision.scale_loss`).
        ConfigurationError, CheckpointError, MissingExtraError: as `checkpoints.Store`.

    >>> import cnnjax
    >>> images, labels = np.zeros((8, 28, 28), np.uint8), np.zeros(8, np.uint8)
    >>> network = cnnjax.models.four_to_six()
    >>> [epoch.number for epoch in fit(network, images, labels, optimizer=optax.sgd(0.1), epochs=2, batch_size=4)]
    [1, 2]
    """
    samples = len(images)
    _check_data(samples, len(labels), batch_size, mesh)
    loss = loss or default_loss(network)
    step = _step(network, loss, optimizer, augment, mesh)

    def begin() -> tuple[TrainState, jax.Array]:
        init_key, augment_key = jax.random.split(jax.random.key(seed))
        params = network.init(init_key)
        return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32)), augment_key

    def configure() -> dict[str, Any]:
        state, key = jax.eval_shape(begin)
        alone = _step(network, loss, optimizer, augment, None)  # the program of any mesh is another
        program = jax.jit(alone).lower(state, images[:batch_size], labels[:batch_size], key).as_text()
        return {
            "network": _described(network),
            "data": _sum(images, labels),
            "batch_size": batch_size,
            "seed": seed,
            # Whatever is not in words, such as the learning rate, is in the program of a step.
            PROGRAM: hashlib.sha256(program.encode()).hexdigest()[:16],
        }

    if mesh is None:
        state, key = begin()
    else:
        state, key = jax.jit(begin, out_shardings=meshes.shardings(jax.eval_shape(begin), mesh))()
    run = jax.jit(step)
    watched = _watched(state)
    batches = samples // batch_size

    with Keeper(checkpoints, configure) as keeper:
        state, position = keeper.restore(state)
        done = (position.epoch - 1) * batches + len(position.losses)
        with Bar(epochs * batches * batch_size, done * batch_size) as bar:
            for number in range(position.epoch, epochs + 1):
                bar.title(f"epoch {number}/{epochs}")
                start = time.perf_counter()
                order = sample_order(seed, number, samples)[: batches * batch_size].reshape(batches, batch_size)
                made = []
                left = order[len(position.losses) :]
                for rows in left:
                    data = (images[rows], labels[rows]) if mesh is None else meshes.batch(mesh, rows, images, labels)
                    state, *values = run(state, *data, key)
                    made.append(values)
                    done += 1
                    bar.advance(batch_size)
                    stopped = keeper.stopped(done)
                    due = stopped or keeper.due(done) or done == number * batches
                    if due or len(made) == _LOOK:
                        position.take(made, done, watched, keeper.last)
                        bar.loss(position.losses[-1])
                        made = []
                    if due:
                        keeper.save(done, state, position)
                    if stopped:
                        bar.hide()
                        keeper.stop(done)
                bar.hide()
                seconds = time.perf_counter() - start
                mean_loss, error = float(np.mean(position.losses)), 100 * sum(position.errors) / order.size
                yield Epoch(number, state, mean_loss, error, seconds, left.size / seconds)
                position = Position(number + 1)


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


def _described(network: Network) -> dict[str, str]:
    """A network in words that are the same in every process."""
    parts = {"input": network.input, **dict(network.layers)}
    return {name: re.sub(r" at 0x[0-9a-f]+", "", repr(part)) for name, part in parts.items()}


def _sum(*arrays: np.ndarray) -> str:
    """The SHA-256 sum of arrays with their shapes and dtypes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.shape} {array.dtype}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:16]


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
