"""The experiment of 1998, repeated: what error does LeNet-5 reach on MNIST by the recipe of its paper, and by today's?

Expected, in % of the 10,000 test digits: 0.95 +- 0.1 by the paper's recipe, 0.8 with distorted digits, and less by a
recipe of today that trains the same 60,000 parameters. Run time on one core: about six minutes for each run of 20
passes, 1.2 million steps of one image each (1998: two to three days); --quick: half a minute.

    python experiments/lenet5_1998.py                      the paper's recipe, three seeds
    python experiments/lenet5_1998.py --plan explore       what the paper leaves open, on digits held out of training
    python experiments/lenet5_1998.py --plan all           everything on the page

Every run is kept as a line of lenet5_1998.jsonl when it is done, and is not run again; the page lenet5_1998.md and its
figures are written from those lines.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from command_line import read_digits
from drawing import ACCENT, BLUE, FAINT, INK, new_figure
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from record import Folders, append_line, environment, make_folders, read_lines, save_json

import cnnjax
from cnnjax.init import Initialiser, LeCunUniform
from cnnjax.layers import RBF, AvgPool2D, Network, Subsample2D
from cnnjax.losses import Loss, map_loss, mle_loss
from cnnjax.training import Augment, TrainState, error_rate, sample_order
from cnnjax.training.distortions import random_affine
from cnnjax.training.levenberg_marquardt import curvature, levenberg_marquardt, with_curvature
from cnnjax.training.online import make_pass

QUESTION = (__doc__ or "").partition("\n")[0]
TARGETS = {"paper": 0.95, "paper, distorted": 0.80, "today": 0.85, "today, distorted": 0.60}
HELD_OUT = 10_000
"""The last digits of the training set, on which choices are made."""
RATES = (*[0.0005] * 2, *[0.0002] * 3, *[0.0001] * 3, *[0.00005] * 4, *[0.00001] * 8)
"""The learning rate of each pass, section III.B."""
ESTIMATED_ON = 500
"""Images from which the curvature is estimated before each pass, section III.B."""
DAMPING = 0.02
"""mu, section III.B."""
MOST_DISTORTED = {"translation": 2.0, "scaling": 0.15, "squeezing": 0.15, "shear": 0.3}
"""Of `random_affine`, for the amount 1."""
ONE_IMAGE = {"c1": {"method": "toeplitz"}, "c3": {"method": "im2col"}, "c5": {"method": "matmul"}}
"""The methods of convolution with which a step of one image is fastest: 149 us on one core, with "auto" 223."""


@dataclass(frozen=True)
class Paper:
    """The recipe of 1998. Fields from `start` to `window` are what the paper leaves open, or what had to be changed.

    So is `amount`: how far digits are distorted, as a share of `MOST_DISTORTED`.
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
    """The same network: minibatches, a softmax over the distances, Adam with decoupled weight decay, a schedule.

    `radius` is that of sharpness-aware minimisation (0: none), which takes every minibatch twice.
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
Data = cnnjax.datasets.ImageData


INTRODUCTION = """
# The experiment of 1998, repeated

What error does LeNet-5 reach on MNIST by the recipe of its paper, and by one of today? Written by
`experiments/lenet5_1998.py`, from its runs.

The recipe of the paper: one image a step, 20 passes over the 60,000 digits in one random order, and stochastic diagonal
Levenberg-Marquardt: a step of eta / (mu + h) for each parameter, with its curvature h estimated from 500 digits before
each pass, mu = 0.02, and eta = 0.0005 in 2 passes, 0.0002 in 3, 0.0001 in 3, 0.00005 in 4, 0.00001 in 8. Of what the
paper leaves open, these runs have the loss of equation 9 with j = 10, fixed codes, and the sum in sub-sampling (with
distorted digits, the average). Two things are not the paper's: the initial weights, and of which loss the curvature is
(below). Choices were made on digits held out of training; the errors that count are those after the last pass.
"""
ON_OTHERS = """
Other runs on the same test digits. The last five are from before the choices were made. With distorted digits and the
sum in sub-sampling the run fell apart in its second pass (a quarter of the training digits wrong) and never recovered,
so that the headline has the average there.
"""
ON_OPEN = """
Runs over the first 50,000 digits of the training set, their errors on its last 10,000. Two runs that differ in nothing
but how sums are rounded came out 0.1 apart (MAP, j = 10, average: 1.05 and 1.16), so that less than that says nothing.

**The constant j** of equation 9 is the penalty of an eleventh answer, "none of them". Wrong answers push only while
theirs is not far above j: with j = 1 hardly ever, so that what is learnt is equation 8, as long as the right penalty
is above 1; with a large j whatever is within j counts as learnt.

**The initial weights.** Uniform within 2.4 / fan-in, as the paper has them, they are so small that so is every
curvature but that of F6. Most rates are then at their bound eta / mu; after 50 images the loss is above 230 (84 at the
start), the units of F6 are saturated, and their gradient is gone, with the sum in sub-sampling as with the average. The
paper gives the effective rates of its first pass; that they reach lower suggests that its network started elsewhere.
These runs start with weights of variance 1 / fan-in, the rule of "Efficient BackProp" of the same year.

**The distortions.** The paper names them (translation, scaling, squeezing, shear) and gives no amounts. The amount 1
here is up to 2 pixels, 15 %, 15 % and a shear of 0.3, which is good for 60 passes of the recipe of today. In the 20
passes of 1998 that many different digits are not all learnt. The headline has 0.4 of these amounts, chosen by seed 0;
two more seeds made the two alike, and on the test digits the amount 1 is the better one, by which nothing was chosen.

**The curvature of the MAP loss** (equation 9) vanishes where the network is sure of its answer, and the rates are then
at their bound. The other MAP runs therefore take the curvature of its first term, that of equation 8.
"""
ON_RATES = """
The rates eta / (mu + h) of the first pass, estimated at the initial weights of seed 0:
"""
ON_TODAY = """
The same network and the same 60,000 parameters: minibatches, a softmax over the distances, Adam with decoupled weight
decay, a warm-up and a cosine to zero; for "distorted" the affine distortions, drawn anew for every image shown.
"""


# --- the recipes


@dataclass(frozen=True)
class UnitVariance:
    """Uniform in +-sqrt(3 / fan-in), so that a sum of uncorrelated inputs of variance 1 has variance 1.

    Source: LeCun, Bottou, Orr and Müller 1998, "Efficient BackProp", section 4.6.
    """

    def __call__(self, key: jax.Array, shape: tuple[int, ...], fan_in: Any, fan_out: Any, dtype: Any) -> jax.Array:
        """Draw the weights."""
        return jax.random.uniform(key, shape, dtype, -1, 1) * jnp.sqrt(3 / jnp.asarray(fan_in, dtype))


@dataclass(frozen=True)
class OfFourInputs:
    """Another initialiser, for units that have four inputs: where a pool before them has averaged these already."""

    rule: Initialiser

    def __call__(self, key: jax.Array, shape: tuple[int, ...], fan_in: Any, fan_out: Any, dtype: Any) -> jax.Array:
        """Draw the weights."""
        return self.rule(key, shape, 4, fan_out, dtype)


def network_of(recipe: Recipe) -> Network:
    """LeNet-5; where sub-sampling averages, a pool does, and the weight and bias of the map follow."""
    if isinstance(recipe, Today):
        return started(cnnjax.models.lenet5(), UnitVariance())
    network = cnnjax.models.lenet5(trainable_codes=recipe.codes == "trained")
    rule = UnitVariance() if recipe.start == "unit variance" else LeCunUniform()
    network = started(network, rule)
    if recipe.window == "sum":
        return network
    layers: list[tuple[str, Any]] = []
    for name, layer in network.layers:
        if isinstance(layer, Subsample2D):
            of_four = OfFourInputs(rule)
            layers.append((f"{name} mean", AvgPool2D(2)))
            layer = replace(layer, window=1, weight_init=of_four, bias_init=of_four)
        layers.append((name, layer))
    return replace(network, layers=tuple(layers))


def started(network: Network, rule: Initialiser) -> Network:
    """The network with its weights and biases drawn by a rule, but for the codes."""
    by_rule = {"weight_init": rule, "bias_init": rule}
    return changed(network, {name: by_rule for name, layer in network.layers if not isinstance(layer, RBF)})


def changed(network: Network, changes: dict[str, dict[str, Any]]) -> Network:
    """The network with other settings in some layers."""
    layers: list[tuple[str, Any]] = list(network.layers)
    return replace(network, layers=tuple((name, replace(layer, **changes.get(name, {}))) for name, layer in layers))


def loss_of(recipe: Recipe) -> Loss:
    """The loss of the paper; today, the cross-entropy of a softmax over the distances, from a temperature."""
    if isinstance(recipe, Paper):
        return mle_loss if recipe.loss == "MSE" else partial(map_loss, rubbish=recipe.rubbish)

    def cross_entropy(distances: jax.Array, labels: jax.Array) -> jax.Array:
        wanted = optax.smooth_labels(jax.nn.one_hot(labels, distances.shape[1]), recipe.smoothing)
        return jnp.mean(optax.softmax_cross_entropy(-distances / recipe.temperature, wanted))

    return cross_entropy


def augment_of(recipe: Recipe) -> Augment | None:
    """On the fly: the paper makes 540,000 distorted digits beforehand, of which it shows each about twice."""
    if not recipe.distorted:
        return None
    if isinstance(recipe, Today):
        return partial(random_affine, **MOST_DISTORTED)
    distort = partial(random_affine, **{name: recipe.amount * most for name, most in MOST_DISTORTED.items()})

    def nine_in_ten(key: jax.Array, images: jax.Array) -> jax.Array:
        """A tenth of the paper's set are the digits as they are."""
        chosen, amounts = jax.random.split(key)
        keep = jax.random.bernoulli(chosen, 0.1, (len(images), 1, 1, 1))
        return jnp.where(keep, images, distort(amounts, images))

    return nine_in_ten


def train(recipe: Recipe, data: Data, seed: int, report: Callable[[dict[str, Any], Any], None]) -> Any:
    """Train from a seed and return the parameters; after each pass `report` gets its numbers and the parameters."""
    return (train_paper if isinstance(recipe, Paper) else train_today)(recipe, data, seed, report)


def train_paper(recipe: Any, data: Data, seed: int, report: Callable[[dict[str, Any], Any], None]) -> Any:
    """One image a step, in an order drawn once; the curvature is estimated anew before each pass."""
    network, loss = changed(network_of(recipe), ONE_IMAGE), loss_of(recipe)
    start, key = jax.random.split(jax.random.key(seed))
    params = network.init(start)
    images, labels = jnp.asarray(data.train_images), jnp.asarray(data.train_labels)
    order = sample_order(seed, 0, len(labels))[:, None]
    rate = optax.piecewise_constant_schedule(
        RATES[0], {i * len(labels): RATES[i] / RATES[i - 1] for i in range(1, len(RATES))}
    )
    optimizer = levenberg_marquardt(rate, damping=DAMPING)
    one_pass = make_pass(network, loss, optimizer, augment_of(recipe))
    curved = mle_loss if recipe.curvature_of == "MSE" else loss
    estimate = jax.jit(lambda params, images, labels: curvature(network, curved, params, images, labels))
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    for number in range(1, recipe.passes + 1):
        some = sample_order(seed, number, len(labels))[:ESTIMATED_ON]
        h = estimate(state.params, network.input.prepare(images[some]), labels[some])
        state = state._replace(optimizer=with_curvature(state.optimizer, h))
        state, mean_loss, errors = one_pass(state, images, labels, order, key)
        report({"pass": number, "loss": float(mean_loss), "train_error": 100 * float(errors)}, state.params)
    return state.params


def first_rates(data: Data) -> list[dict[str, Any]]:
    """The least and the largest rate eta / (mu + h) of the first pass, by initial weights and sub-sampling."""
    rows = []
    some = sample_order(0, 1, len(data.train_labels))[:ESTIMATED_ON]
    for start, window in itertools.product(("2.4 / fan-in", "unit variance"), ("sum", "average")):
        network = network_of(Paper(start=start, window=window))
        params = network.init(jax.random.split(jax.random.key(0))[0])
        images = network.input.prepare(data.train_images[some])
        h = jax.jit(partial(curvature, network, mle_loss))(params, images, data.train_labels[some])
        used = [a[w != 0] for a, w in zip(*map(jax.tree.leaves, (h, params)), strict=True)]  # not the unconnected
        rates = RATES[0] / (DAMPING + np.concatenate(used))
        rows.append({"start": start, "window": window, "least": float(rates.min()), "most": float(rates.max())})
    return rows


def train_today(recipe: Any, data: Data, seed: int, report: Callable[[dict[str, Any], Any], None]) -> Any:
    """Minibatches, in another order in each pass."""
    network = network_of(recipe)
    start, key = jax.random.split(jax.random.key(seed))
    params = network.init(start)
    images, labels = jnp.asarray(data.train_images), jnp.asarray(data.train_labels)
    steps = len(labels) // recipe.batch
    rate = optax.warmup_cosine_decay_schedule(0, recipe.rate, steps, recipe.passes * steps)
    optimizer = optax.adamw(rate, weight_decay=recipe.decay)
    times = 2 if recipe.radius else 1
    if recipe.radius:
        uphill = optax.chain(optax.contrib.normalize(), optax.sgd(recipe.radius))
        optimizer = optax.contrib.sam(optimizer, uphill, sync_period=times)
    one_pass = make_pass(network, loss_of(recipe), optimizer, augment_of(recipe))
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    for number in range(1, recipe.passes + 1):
        order = sample_order(seed, number, len(labels))[: steps * recipe.batch].reshape(steps, recipe.batch)
        state, mean_loss, errors = one_pass(state, images, labels, np.repeat(order, times, axis=0), key)
        report({"pass": number, "loss": float(mean_loss), "train_error": 100 * float(errors)}, state.params)
    return state.params


# --- a run, and what is kept of it


def run(recipe: Recipe, data: Data, seed: int, on: str) -> dict[str, Any]:
    """Train and test; `on` says whether "data" is tested on the test set or on digits held out of training."""
    started = time.process_time()
    network, history = network_of(recipe), []
    each_pass = isinstance(recipe, Paper)

    def report(numbers: dict[str, Any], params: Any) -> None:
        if each_pass:
            numbers["test_error"] = error_rate(network, params, data.test_images, data.test_labels)
        history.append(numbers)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        print(f"  {shown}  ({time.process_time() - started:.0f} s)", flush=True)

    params = train(recipe, data, seed, report)
    scores = np.concatenate([_scores(network, params, some) for some in np.array_split(data.test_images, 20)])
    return {
        "recipe": record_of(recipe),
        "seed": seed,
        "on": on,
        "trained_on": len(data.train_labels),
        "tested_on": len(data.test_labels),
        "history": history,
        "train_error": error_rate(network, params, data.train_images, data.train_labels),
        "test_error": error_rate(network, params, data.test_images, data.test_labels),
        "mistakes": mistakes(scores, data.test_labels),
        "cpu_seconds": round(time.process_time() - started, 1),
    }


@jax.jit(static_argnums=0)
def _scores(network: Network, params: Any, images: np.ndarray) -> jax.Array:
    return network.apply(params, network.input.prepare(images))


def mistakes(distances: np.ndarray, labels: np.ndarray) -> list[dict[str, int]]:
    """Every digit put in a wrong class, with the number of digits of which the network is less sure.

    It is the less sure, the less the second-smallest distance is above the smallest.
    """
    first, second = np.partition(distances, 1, axis=1)[:, :2].T
    rank = np.empty(len(labels), int)
    rank[np.argsort(second - first, kind="stable")] = np.arange(len(labels))
    answers = distances.argmin(axis=1)
    wrong = np.flatnonzero(answers != labels)
    return [
        {"digit": int(i), "label": int(labels[i]), "answer": int(answers[i]), "less_sure": int(rank[i])} for i in wrong
    ]


def rejected(wrong: Sequence[dict[str, int]], tested: int) -> tuple[np.ndarray, np.ndarray]:
    """The share (%) rejected, least sure first, and the errors (%) among the rest."""
    ranks = np.sort([mistake["less_sure"] for mistake in wrong])
    count = np.arange(tested // 5)
    left = len(ranks) - np.searchsorted(ranks, count)
    return 100 * count / tested, 100 * left / (tested - count)


def held_out(data: Data) -> Data:
    """The training set without its last digits, and these in the place of the test set."""
    images, labels = data.train_images, data.train_labels
    count = min(HELD_OUT, len(labels) // 5)
    return replace(
        data,
        train_images=images[:-count],
        train_labels=labels[:-count],
        test_images=images[-count:],
        test_labels=labels[-count:],
    )


def first(data: Data, digits: int) -> Data:
    """The first digits of the training set."""
    return replace(data, train_images=data.train_images[:digits], train_labels=data.train_labels[:digits])


# --- the plan


@dataclass(frozen=True)
class Planned:
    """A recipe to run with seeds 0, 1, ...; `on` is "test set" or "held out"."""

    recipe: Recipe
    seeds: int = 1
    on: str = "test set"


HEADLINES = {
    "paper": Planned(Paper(), seeds=3),
    "paper, distorted": Planned(Paper(distorted=True, amount=0.4, window="average"), seeds=3),
    "today": Planned(Today(), seeds=3),
    "today, distorted": Planned(Today(distorted=True, passes=60), seeds=3),
}
BEFORE = Paper(rubbish=1.0, window="average")
OF_64 = Today(batch=64, rate=2e-3)
OTHERS = {
    "paper, distorted, sum, amount 1": Planned(Paper(distorted=True)),
    "paper, distorted, amount 1": Planned(Paper(distorted=True, window="average"), seeds=3),
    "paper, j = 1, average": Planned(BEFORE, seeds=3),
    "paper, j = 1, average, distorted, amount 1": Planned(replace(BEFORE, distorted=True)),
    "paper, MSE, average": Planned(replace(BEFORE, loss="MSE")),
    "today, batches of 64": Planned(OF_64),
    "today, batches of 64, distorted": Planned(replace(OF_64, distorted=True)),
}
SIZES = {f"paper, {digits:,} digits": Planned(Paper(digits=digits)) for digits in (15_000, 30_000)}
OPEN = {
    f"open: {label}": Planned(Paper(**changes), on="held out")
    for label, changes in {
        "MAP, j = 10": {},
        "MAP, j = 10, codes trained": {"codes": "trained"},
        "MAP, j = 10, average in sub-sampling": {"window": "average"},
        "MAP, j = 10, average, its own curvature": {"window": "average", "curvature_of": "MAP"},
        "MAP, j = 1, average": {"window": "average", "rubbish": 1.0},
        "MAP, j = 10, initial weights within 2.4 / fan-in": {"start": "2.4 / fan-in", "passes": 2},
    }.items()
} | {
    f"open: MAP, j = 10, average, distorted by {amount:g}": Planned(
        Paper(window="average", distorted=True, amount=amount), seeds, on="held out"
    )
    for amount, seeds in ((1.0, 3), (0.6, 1), (0.4, 3))
}
SHORT = replace(OF_64, passes=10)
TRIED = {
    f"tried: {label}": Planned(recipe, on="held out")
    for label, recipe in {
        "batches of 64": SHORT,
        "batches of 16": Today(passes=10),
        "batches of 64, sharpness-aware": replace(SHORT, radius=0.05),
        "batches of 64, temperature 3": replace(SHORT, temperature=3.0),
        "batches of 64, temperature 30": replace(SHORT, temperature=30.0),
        "batches of 64, decay 0.1": replace(SHORT, decay=0.1),
        "batches of 64, distorted": replace(SHORT, distorted=True),
        "batches of 64, longer": OF_64,
        "batches of 64, longer, decay 0.1": replace(OF_64, decay=0.1),
        "batches of 64, longer, decay 0.3": replace(OF_64, decay=0.3),
        "batches of 16, longer": Today(),
    }.items()
}
PLANS: dict[str, dict[str, Planned]] = {
    "paper": {"paper": HEADLINES["paper"]},
    "today": {"today": HEADLINES["today"]},
    "distorted": {name: HEADLINES[name] for name in ("today, distorted", "paper, distorted")},
    "sizes": SIZES,
    "explore": OPEN,
    "tried": TRIED,
    "page": {},
    "all": {**HEADLINES, **OTHERS, **SIZES, **OPEN, **TRIED},
}


def key_of(recipe: dict[str, Any], seed: int, on: str) -> str:
    """What makes two runs the same."""
    return f"{sorted(recipe.items())} {seed} {on}"


# --- what comes out


def runs_of(runs: Sequence[dict[str, Any]], planned: Planned) -> list[dict[str, Any]]:
    """The runs of a recipe, a seed each."""
    wanted = record_of(planned.recipe)
    return sorted((r for r in runs if r["recipe"] == wanted and r["on"] == planned.on), key=lambda r: r["seed"])


def record_of(recipe: Recipe) -> dict[str, Any]:
    """A recipe as it is kept."""
    return {"kind": type(recipe).__name__, **asdict(recipe)}


def spread(errors: Sequence[float]) -> str:
    """The mean, and the standard deviation where there is one."""
    if not errors:
        return "not run"
    deviation = f" ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
    return f"{statistics.fmean(errors):.2f}{deviation}"


def table(runs: Sequence[dict[str, Any]], plan: dict[str, Planned], *columns: str) -> str:
    """A row for each recipe of a plan: errors in %; a target where there is one."""
    shown = [
        "| recipe | passes | trained on | error (%) | each seed | error on what it was trained on (%) |"
        + "".join(f" {c} |" for c in columns)
    ]
    shown += ["|---|---:|---:|---:|---|---:|" + "---:|" * len(columns)]
    for name, planned in plan.items():
        found = runs_of(runs, planned)
        errors = [r["test_error"] for r in found]
        cells = [name, str(planned.recipe.passes), f"{found[0]['trained_on']:,}" if found else "", spread(errors)]
        cells += [", ".join(f"{e:.2f}" for e in errors), spread([r["train_error"] for r in found])]
        cells += [f"{TARGETS[name]:.2f}" for _ in columns]
        shown.append(f"| {' | '.join(cells)} |")
    return "\n".join(shown)


def page(runs: Sequence[dict[str, Any]], start: dict[str, Any]) -> str:
    """The page of the docs, from the runs and the rates at the start."""
    parts = [INTRODUCTION.strip(), "## Test errors\n\n" + table(runs, HEADLINES, "to reach")]
    missing = [name for name, planned in PLANS["all"].items() if len(runs_of(runs, planned)) < planned.seeds]
    if missing:
        parts[1:1] = [f"**Not all that is planned has been run.** To come: {'; '.join(missing)}."]
    parts += [f"![{name}](../figures/lenet5_1998_{name}.png)" for name in draw(runs)]
    parts += [f"{ON_OTHERS.strip()}\n\n{table(runs, OTHERS)}"]
    parts += [rejection_of(runs), "## Training-set size\n\n" + table(runs, SIZES)]
    parts += [f"## What the paper leaves open\n\n{ON_OPEN.strip()}\n\n{table(runs, OPEN)}"]
    parts += [f"{ON_RATES.strip()}\n\n{rates_table(start['rates'])}"]
    parts += [f"## Today\n\n{ON_TODAY.strip()}\n\n{table(runs, TRIED)}"]
    seconds = sum(run["cpu_seconds"] for run in runs)
    where = start["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items() if version[0].isdigit())
    parts.append(
        f"## How it was run\n\n{len(runs)} runs, {seconds / 60:.0f} minutes of processor time. Python "
        f"{where['python']}, {versions}; {where['processor']}. The runs, one a line, with recipe, seed, history and "
        "every mistake: [lenet5_1998.jsonl](../records/lenet5_1998.jsonl)."
    )
    return "\n\n".join(filter(None, parts)) + "\n"


def rejection_of(runs: Sequence[dict[str, Any]]) -> str:
    """How many digits have to be rejected to reach 0.5 %."""
    shares = {}
    for name, planned in HEADLINES.items():
        for r in runs_of(runs, planned):
            share, left = rejected(r["mistakes"], r["tested_on"])
            shares.setdefault(name, []).append(float(share[np.argmax(left <= 0.5)]))
    if not shares:
        return ""
    found = "; ".join(f"{name}: {spread(values)} %" for name, values in shares.items())
    return (
        "To reach 0.5 % errors among those that are left, so many of the test digits have to be rejected, least sure "
        f"first: {found}. The paper gives 1.8 % for LeNet-4, 3.7 % for LeNet-1, and none for LeNet-5."
    )


def rates_table(rows: Sequence[dict[str, Any]]) -> str:
    """The effective rates of the first pass, beside those that the paper gives."""
    shown = ["| initial weights | sub-sampling | least rate | largest rate |", "|---|---|---:|---:|"]
    shown += [f"| {r['start']} | {r['window']} | {r['least']:.1e} | {r['most']:.1e} |" for r in rows]
    return "\n".join([*shown, "| paper | | 7e-05 | 1.6e-02 |"])


def draw(runs: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """The figures of which there are runs."""
    found = {name: runs_of(runs, planned) for name, planned in (HEADLINES | SIZES).items()}
    figures = {}
    if found["paper"]:
        figures["passes"] = draw_passes(found)
        figures["confusion"] = draw_confusion(found["paper"])
    if any(found[name] for name in HEADLINES):
        figures["rejection"] = draw_rejection(found)
    if found["paper"] and any(found[name] for name in SIZES):
        figures["sizes"] = draw_sizes(found)
    return figures


def draw_passes(found: dict[str, list[dict[str, Any]]]) -> Figure:
    """Figure 5 of the paper: errors after each pass."""
    figure = new_figure(6, 3.4, "Errors during training (%)")
    axes = figure.subplots()
    for name, colour in (("paper", INK), ("paper, distorted", ACCENT)):
        for place, r in enumerate(found[name]):
            passes = [entry["pass"] for entry in r["history"]]
            label = name if place == 0 else None
            axes.plot(passes, [e["test_error"] for e in r["history"]], color=colour, label=label and f"{label}: test")
            shown = label and f"{label}: training, on the way"
            axes.plot(passes, [e["train_error"] for e in r["history"]], ":", color=colour, label=shown)
    axes.set(xlabel="passes over the training set", ylim=(0, 3), xticks=range(0, 21, 2))
    return finished(figure, axes)


def draw_confusion(runs: Sequence[dict[str, Any]]) -> Figure:
    """Which digits are taken for which: the mean over seeds, the right ones left out."""
    counts = np.zeros((10, 10))
    for r in runs:
        for mistake in r["mistakes"]:
            counts[mistake["label"], mistake["answer"]] += 1 / len(runs)
    figure = new_figure(4.6, 4.4, f"Mistakes among {runs[0]['tested_on']:,} digits, mean of {len(runs)} runs")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    for label, answer in zip(*np.nonzero(counts), strict=True):
        shade = "white" if counts[label, answer] > counts.max() / 2 else INK
        axes.text(answer, label, f"{counts[label, answer]:.2g}", ha="center", va="center", fontsize=7, color=shade)
    axes.set(xticks=range(10), yticks=range(10), xlabel="answer", ylabel="digit")
    return figure


def draw_rejection(found: dict[str, list[dict[str, Any]]]) -> Figure:
    """Errors among the digits that are left, against the share rejected."""
    figure = new_figure(6, 3.4, "Errors among what is not rejected (%)")
    axes = figure.subplots()
    for name, colour in zip(HEADLINES, (INK, ACCENT, BLUE, "#6a9a4b"), strict=True):
        for place, r in enumerate(found[name]):
            axes.plot(*rejected(r["mistakes"], r["tested_on"]), color=colour, label=None if place else name)
    axes.axhline(0.5, color="#8a949d", linewidth=0.8)
    axes.set(xlabel="rejected (%)", xlim=(0, 5), ylim=(0, 1.2))
    return finished(figure, axes)


def draw_sizes(found: dict[str, list[dict[str, Any]]]) -> Figure:
    """Figure 6 of the paper: errors against the size of the training set."""
    figure = new_figure(5, 3.2, "Errors against the number of training digits (%)")
    axes = figure.subplots()
    rows = [r for name in (*SIZES, "paper") for r in found[name]]
    digits = [r["trained_on"] for r in rows]
    axes.plot(digits, [r["test_error"] for r in rows], "o", color=INK, label="test")
    axes.plot(digits, [r["train_error"] for r in rows], "s", color=BLUE, label="training")
    axes.plot([15_000, 30_000, 60_000], [1.7, 1.14, 0.95], "o", mfc="none", color=ACCENT, label="paper: test")
    axes.plot([15_000, 30_000, 60_000], [0.05, 0.31, 0.35], "s", mfc="none", color=ACCENT, label="paper: training")
    axes.set(xlabel="training digits", ylim=(0, None), xlim=(0, 63_000))
    return finished(figure, axes)


def finished(figure: Figure, axes: Axes) -> Figure:
    """With a legend and a light grid."""
    axes.legend(fontsize=8, frameon=False)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is planned and not done yet; write the page."""
    options = parse(arguments)
    folders = make_folders(options.out)
    lines = folders.records / "lenet5_1998.jsonl"
    data = load(options)
    print(data.source)
    done = {key_of(kept["recipe"], kept["seed"], kept["on"]) for kept in read_lines(lines)}
    for name, planned in PLANS[options.plan].items():
        recipe = shortened(planned.recipe) if options.quick else planned.recipe
        for seed in options.seeds or range(planned.seeds):
            if key_of(record_of(recipe), seed, planned.on) in done:
                continue
            print(f"{name}, seed {seed}, {planned.on}: {recipe}", flush=True)
            using = first(data if planned.on == "test set" else held_out(data), recipe.digits)
            append_line(lines, {**run(recipe, using, seed, planned.on), "environment": environment()})
    rates = folders.records / "lenet5_1998_rates.json"
    if not rates.exists():
        save_json(rates, {"environment": environment(), "rates": first_rates(data)})
    write(folders, read_lines(lines), json.loads(rates.read_text()))
    return 0


def write(folders: Folders, runs: Sequence[dict[str, Any]], start: dict[str, Any]) -> None:
    """The page and its figures."""
    for name, figure in draw(runs).items():
        figure.savefig(folders.figures / f"lenet5_1998_{name}.png")
    (folders.results / "lenet5_1998.md").write_text(page(runs, start))


def shortened(recipe: Recipe) -> Recipe:
    """The same for a trial of seconds."""
    return replace(recipe, digits=min(recipe.digits, 60_000) // 100, passes=2)


def load(options: argparse.Namespace) -> Data:
    """The digits; under --quick at most 1,000 to test."""
    data = read_digits(options.data, download=options.download)
    if options.quick:
        return replace(data, test_images=data.test_images[:1000], test_labels=data.test_labels[:1000])
    return data


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=QUESTION, epilog="What it takes and what to expect: see the script.")
    parser.add_argument("--plan", choices=PLANS, default="paper", help="which runs (paper); page: none")
    parser.add_argument("--seeds", type=int, nargs="+", help="in the place of those planned")
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of the full MNIST (plain or .gz)")
    parser.add_argument("--download", action="store_true", help="fetch the full MNIST, into --data or the user's cache")
    parser.add_argument(
        "--out", type=Path, default=Path("results/lenet5_1998"), help="folder for records/, results/ and figures/"
    )
    parser.add_argument("--quick", action="store_true", help="a hundredth of the digits, two passes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
