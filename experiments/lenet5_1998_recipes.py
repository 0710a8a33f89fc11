"""The two recipes that lenet5_1998.py compares, that of the 1998 paper and a modern one: network, loss, training."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

import cnnjax
from cnnjax.init import Initialiser, LeCunUniform
from cnnjax.layers import RBF, AvgPool2D, Network, Subsample2D
from cnnjax.losses import Loss, map_loss, mle_loss
from cnnjax.training import Augment, TrainState, sample_order
from cnnjax.training.distortions import random_affine
from cnnjax.training.levenberg_marquardt import curvature, levenberg_marquardt, with_curvature
from cnnjax.training.online import make_pass

LEARNING_RATES = (*[0.0005] * 2, *[0.0002] * 3, *[0.0001] * 3, *[0.00005] * 4, *[0.00001] * 8)
"""The global learning rate of each pass, section III.B."""
CURVATURE_SAMPLES = 500
"""Images from which the curvature is estimated before each pass, section III.B."""
DAMPING = 0.02
"""mu, section III.B."""
FULL_DISTORTION = {"translation": 2.0, "scaling": 0.15, "squeezing": 0.15, "shear": 0.3}
"""Arguments of `random_affine` at strength 1: its defaults, repeated so that the recipe does not change with them."""
SINGLE_IMAGE_METHODS = {"c1": {"method": "toeplitz"}, "c3": {"method": "im2col"}, "c5": {"method": "matmul"}}
"""The fastest methods for a step of one image: 149 us on one core, 223 us with "auto"."""

Data = cnnjax.datasets.ImageData
Report = Callable[[dict[str, Any], Any], None]
"""Called after each pass with its numbers and the parameters."""


@dataclass(frozen=True)
class Paper:
    """The recipe of 1998. Each field is a choice that the paper leaves open or that had to be changed.

    Args:
        start: initial weights, "unit variance" or the paper's "2.4 / fan-in".
        loss: "MAP" (equation 9) or "MSE" (equation 8).
        rubbish: the constant j of equation 9.
        curvature_of: the loss whose curvature sets the step sizes, "MSE" or "MAP".
        codes: "fixed" or "trained" RBF codes.
        window: what sub-sampling does with the four values of its window, "sum" or "average".
        digits: size of the training set.
        distorted: whether images are distorted at random.
        amount: strength of the distortions, as a fraction of `FULL_DISTORTION`.
        passes: passes over the training set.
    """

    start: str = "unit variance"
    loss: str = "MAP"
    rubbish: float = 10.0
    curvature_of: str = "MSE"
    codes: str = "fixed"
    window: str = "sum"
    digits: int = 60_000
    distorted: bool = False
    amount: float = 1.0
    passes: int = 20


@dataclass(frozen=True)
class Today:
    """The same network with minibatches, softmax cross-entropy on the distances, AdamW and a learning-rate schedule.

    `radius` is that of sharpness-aware minimisation (0: none), which visits every minibatch twice.
    """

    distorted: bool = False
    digits: int = 60_000
    passes: int = 30
    batch: int = 16
    rate: float = 1e-3
    decay: float = 0.02
    radius: float = 0.0
    temperature: float = 10.0
    smoothing: float = 0.0


Recipe = Paper | Today


def record_of(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the record holds it: its class and its fields, which together identify a run."""
    return {"kind": type(recipe).__name__, **asdict(recipe)}


# --- the network


@dataclass(frozen=True)
class UnitVariance:
    """Uniform in +-sqrt(3 / fan-in): a weighted sum of uncorrelated inputs of variance 1 has variance 1.

    Source: LeCun, Bottou, Orr and Müller 1998, "Efficient BackProp", section 4.6.
    """

    def __call__(self, key: jax.Array, shape: tuple[int, ...], fan_in: Any, fan_out: Any, dtype: Any) -> jax.Array:
        """Draw the weights."""
        return jax.random.uniform(key, shape, dtype, -1, 1) * jnp.sqrt(3 / jnp.asarray(fan_in, dtype))


@dataclass(frozen=True)
class FanInOfFour:
    """Another initialiser with a fan-in of 4: for sub-sampling units whose four inputs are averaged by a pool first."""

    rule: Initialiser

    def __call__(self, key: jax.Array, shape: tuple[int, ...], fan_in: Any, fan_out: Any, dtype: Any) -> jax.Array:
        """Draw the weights."""
        return self.rule(key, shape, 4, fan_out, dtype)


def network_of(recipe: Recipe) -> Network:
    """LeNet-5. With averages in sub-sampling, an average pool precedes the trainable weight and bias of each map."""
    if isinstance(recipe, Today):
        return initialised(cnnjax.models.lenet5(), UnitVariance())
    network = cnnjax.models.lenet5(trainable_codes=recipe.codes == "trained")
    rule = UnitVariance() if recipe.start == "unit variance" else LeCunUniform()
    network = initialised(network, rule)
    if recipe.window == "sum":
        return network
    layers: list[tuple[str, Any]] = []
    for name, layer in network.layers:
        if isinstance(layer, Subsample2D):
            initialiser = FanInOfFour(rule)
            layers.append((f"{name} mean", AvgPool2D(2)))
            layer = replace(layer, window=1, weight_init=initialiser, bias_init=initialiser)
        layers.append((name, layer))
    return replace(network, layers=tuple(layers))


def initialised(network: Network, rule: Initialiser) -> Network:
    """The network with one initialiser for all weights and biases, except the RBF codes."""
    initialisers = {"weight_init": rule, "bias_init": rule}
    return with_settings(network, {name: initialisers for name, layer in network.layers if not isinstance(layer, RBF)})


def with_settings(network: Network, changes: dict[str, dict[str, Any]]) -> Network:
    """The network with fields of some layers replaced."""
    layers: list[tuple[str, Any]] = list(network.layers)
    return replace(network, layers=tuple((name, replace(layer, **changes.get(name, {}))) for name, layer in layers))


# --- the training


def loss_of(recipe: Recipe) -> Loss:
    """The loss of the paper; for `Today` the cross-entropy of a softmax over the negative distances."""
    if isinstance(recipe, Paper):
        return mle_loss if recipe.loss == "MSE" else partial(map_loss, rubbish=recipe.rubbish)

    def cross_entropy(distances: jax.Array, labels: jax.Array) -> jax.Array:
        targets = optax.smooth_labels(jax.nn.one_hot(labels, distances.shape[1]), recipe.smoothing)
        return jnp.mean(optax.softmax_cross_entropy(-distances / recipe.temperature, targets))

    return cross_entropy


def augment_of(recipe: Recipe) -> Augment | None:
    """Random distortions, drawn when an image is shown; the paper precomputes 540,000 distorted digits instead."""
    if not recipe.distorted:
        return None
    if isinstance(recipe, Today):
        return partial(random_affine, **FULL_DISTORTION)
    distort = partial(random_affine, **{name: recipe.amount * full for name, full in FULL_DISTORTION.items()})

    def nine_in_ten(key: jax.Array, images: jax.Array) -> jax.Array:
        """A tenth of the paper's training set is not distorted."""
        choice, strengths = jax.random.split(key)
        keep = jax.random.bernoulli(choice, 0.1, (len(images), 1, 1, 1))
        return jnp.where(keep, images, distort(strengths, images))

    return nine_in_ten


def train(recipe: Recipe, data: Data, seed: int, report: Report) -> Any:
    """Train from a seed and return the parameters."""
    if isinstance(recipe, Paper):
        return train_paper(recipe, data, seed, report)
    return train_today(recipe, data, seed, report)


def train_paper(recipe: Paper, data: Data, seed: int, report: Report) -> Any:
    """One image per step, in an order drawn once; the curvature is estimated again before each pass."""
    network, loss = with_settings(network_of(recipe), SINGLE_IMAGE_METHODS), loss_of(recipe)
    start, key = jax.random.split(jax.random.key(seed))
    params = network.init(start)
    images, labels = jnp.asarray(data.train_images), jnp.asarray(data.train_labels)
    order = sample_order(seed, 0, len(labels))[:, None]
    rate = optax.piecewise_constant_schedule(
        LEARNING_RATES[0],
        {i * len(labels): rate / previous for i, (previous, rate) in enumerate(itertools.pairwise(LEARNING_RATES), 1)},
    )
    optimizer = levenberg_marquardt(rate, damping=DAMPING)
    one_pass = make_pass(network, loss, optimizer, augment_of(recipe))
    curved_loss = mle_loss if recipe.curvature_of == "MSE" else loss
    estimate = jax.jit(lambda params, images, labels: curvature(network, curved_loss, params, images, labels))
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    for number in range(1, recipe.passes + 1):
        sample = sample_order(seed, number, len(labels))[:CURVATURE_SAMPLES]
        h = estimate(state.params, network.input.prepare(images[sample]), labels[sample])
        state = state._replace(optimizer=with_curvature(state.optimizer, h))
        state, mean_loss, errors = one_pass(state, images, labels, order, key)
        report({"pass": number, "loss": float(mean_loss), "train_error": 100 * float(errors)}, state.params)
    return state.params


def first_rates(data: Data) -> list[dict[str, Any]]:
    """The smallest and largest step size eta / (mu + h) of the first pass, by initial weights and sub-sampling."""
    rows = []
    sample = sample_order(0, 1, len(data.train_labels))[:CURVATURE_SAMPLES]
    for start, window in itertools.product(("2.4 / fan-in", "unit variance"), ("sum", "average")):
        network = network_of(Paper(start=start, window=window))
        params = network.init(jax.random.split(jax.random.key(0))[0])
        images = network.input.prepare(data.train_images[sample])
        h = jax.jit(partial(curvature, network, mle_loss))(params, images, data.train_labels[sample])
        used = [a[w != 0] for a, w in zip(*map(jax.tree.leaves, (h, params)), strict=True)]  # unconnected weights are 0
        rates = LEARNING_RATES[0] / (DAMPING + np.concatenate(used))
        rows.append({"start": start, "window": window, "least": float(rates.min()), "most": float(rates.max())})
    return rows


def train_today(recipe: Today, data: Data, seed: int, report: Report) -> Any:
    """Minibatches, in a new order in each pass."""
    network = network_of(recipe)
    start, key = jax.random.split(jax.random.key(seed))
    params = network.init(start)
    images, labels = jnp.asarray(data.train_images), jnp.asarray(data.train_labels)
    steps = len(labels) // recipe.batch
    rate = optax.warmup_cosine_decay_schedule(0, recipe.rate, steps, recipe.passes * steps)
    optimizer = optax.adamw(rate, weight_decay=recipe.decay)
    visits = 2 if recipe.radius else 1
    if recipe.radius:
        ascent = optax.chain(optax.contrib.normalize(), optax.sgd(recipe.radius))
        optimizer = optax.contrib.sam(optimizer, ascent, sync_period=visits)
    one_pass = make_pass(network, loss_of(recipe), optimizer, augment_of(recipe))
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    for number in range(1, recipe.passes + 1):
        order = sample_order(seed, number, len(labels))[: steps * recipe.batch].reshape(steps, recipe.batch)
        state, mean_loss, errors = one_pass(state, images, labels, np.repeat(order, visits, axis=0), key)
        report({"pass": number, "loss": float(mean_loss), "train_error": 100 * float(errors)}, state.params)
    return state.params
