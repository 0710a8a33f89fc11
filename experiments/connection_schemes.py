"""Which input map should feed which output map: how do eight connection schemes compare as the C3 layer of LeNet-5?

Expected: on a task where only the place of a map among the others tells the class, one 2-D kernel replicated over the
maps errs on exactly 5 of 6 images whatever its weights, and every other scheme on almost none. On digits and clothes
the schemes differ by some tenths of a percent after one pass: depthwise is the worst at equal width, the replicated
kernel among the worst on digits at equal parameters and as good as full elsewhere.
Run time on two cores: --quick, half a minute; the small digits, five seeds: three minutes; the full MNIST and
Fashion-MNIST, five seeds: 180 runs of about ten seconds of processor time. It can be stopped and
called again: runs that are done are kept.

    python experiments/connection_schemes.py --quick
    python experiments/connection_schemes.py --data mnist/folder --fashion fashion-mnist/folder --out docs
    python experiments/connection_schemes.py --out docs --report                        # the page again, from its runs
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats
from drawing import ACCENT, BLUE, FAINT, INK, new_figure
from matplotlib.figure import Figure
from record import append_line, environment, make_folders, read_lines

import cnnjax
from cnnjax import Input, Network, connections, training
from cnnjax.connections import LENET5_C3, ConnectionTable
from cnnjax.datasets import ImageData
from cnnjax.init import Constant
from cnnjax.layers import Conv2D, Counts, Dense, Layer, Subsample2D

QUESTION = (__doc__ or "").partition("\n")[0]
SQUASHED: dict[str, Any] = {"activation": "scaled_tanh"}
S2_MAPS, KERNEL = 6, 5
WHICH_MAP = "which map"
PLANNED = ("MNIST", "Fashion-MNIST", WHICH_MAP)
ENOUGH = 5  # seeds for a test


# --- the schemes


@dataclass(frozen=True)
class Replicated2D(Conv2D):
    """One 2-D kernel for each output map, the same for every input map: it can only see the sum of the maps."""

    def init(self, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> dict[str, jax.Array]:
        """Draw one slice an output map, scaled for all the inputs of a unit."""
        params = super().init(key, shape, dtype)
        return {**params, "w": params["w"][:, :, :1]}

    def apply(self, params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        """Convolve the sum of the maps."""
        return super().apply(params, jnp.sum(x, axis=-1, keepdims=True))

    def counts(self, shape: tuple[int, ...]) -> Counts:
        """The weights of one map; the sum over maps is taken first, so that products are few too."""
        seen, one = super().counts(shape), super().counts((*shape[:-1], 1))
        return replace(one, num_connections=seen.num_connections)


@dataclass(frozen=True)
class OverMaps3D(Conv2D):
    """A true 3-D convolution: the kernel, `depth` maps deep, slides along the maps as well.

    C_in - depth + 1 places along the maps and so many kernels make up `maps` output maps, kernels fastest.
    """

    depth: int = 3

    def places(self, shape: tuple[int, ...]) -> int:
        """The places of the kernel along the maps: 10-D+1 for ten maps."""
        return shape[-1] - self.depth + 1

    def one_place(self, shape: tuple[int, ...]) -> tuple[Conv2D, tuple[int, ...]]:
        """The ordinary convolution that is done at each place, and what it reads."""
        settings: dict[str, Any] = {name: getattr(self, name) for name in ("activation", "weight_init", "bias_init")}
        return Conv2D(self.maps // self.places(shape), self.kernel, **settings), (*shape[:-1], self.depth)

    def init(self, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> dict[str, jax.Array]:
        """Draw the kernels (k, k, depth, kernels)."""
        layer, seen = self.one_place(shape)
        return layer.init(key, seen, dtype)

    def apply(self, params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        """The same kernels on each run of `depth` neighbouring maps."""
        layer, seen = self.one_place(x.shape[1:])
        places = range(self.places(x.shape[1:]))
        runs = jnp.concatenate([x[..., d : d + self.depth] for d in places])
        y = layer.apply(params, runs).reshape(len(places), x.shape[0], *layer.output_shape(seen))
        return jnp.moveaxis(y, 0, -2).reshape(x.shape[0], *y.shape[2:4], self.maps)

    def counts(self, shape: tuple[int, ...]) -> Counts:
        """The weights and biases of one place, used at every place."""
        layer, seen = self.one_place(shape)
        one, places = layer.counts(seen), self.places(shape)
        products = one.num_macs * places
        return replace(one, num_connections=one.num_connections * places, num_macs=products)


Layers = tuple[tuple[str, Layer], ...]


@dataclass(frozen=True)
class Scheme:
    """One way to connect C3: its layers from (its size, seed); the size for 16 maps, and that for 1,516 parameters."""

    name: str
    layers: Callable[[int, int], Layers]
    for_width: int
    for_parameters: int


def tabled(table: ConnectionTable) -> Layers:
    return (("c3", Conv2D(table.c_out, KERNEL, connections=table, **SQUASHED)),)


def depthwise_table(maps: int) -> ConnectionTable:
    """Each output map reads one input map; the inputs feed as equal numbers of outputs as can be."""
    return connections.from_rows([[o * S2_MAPS // maps] for o in range(maps)], S2_MAPS)


def random_table(maps: int, seed: int, links: int = LENET5_C3.num_links) -> ConnectionTable:
    """A table of so many links drawn at random, every output map reading at least one input map.

    >>> table = random_table(16, seed=0)
    >>> table.num_links, min(table.fan_in) >= 1
    (60, True)
    """
    random = np.random.default_rng(seed)
    matrix = np.zeros((S2_MAPS, maps), bool)
    matrix[random.integers(0, S2_MAPS, maps), np.arange(maps)] = True
    free = np.flatnonzero(~matrix)
    matrix.flat[random.choice(free, links - maps, replace=False)] = True
    return ConnectionTable(matrix)


def separable(multiplier: int) -> Layers:
    deep = Conv2D(S2_MAPS * multiplier, KERNEL, groups=S2_MAPS, bias=False)
    return (("c3_depthwise", deep), ("c3", Conv2D(16, 1, **SQUASHED)))


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("full", lambda maps, seed: tabled(connections.full(S2_MAPS, maps)), 16, 10),
        Scheme("Table I", lambda maps, seed: tabled(LENET5_C3), 16, 16),
        Scheme("random, 60 links", lambda maps, seed: tabled(random_table(maps, seed)), 16, 16),
        Scheme("two groups", lambda maps, seed: tabled(connections.grouped(S2_MAPS, maps, 2)), 16, 20),
        Scheme("depthwise", lambda maps, seed: tabled(depthwise_table(maps)), 16, 58),
        Scheme("depthwise + 1x1", lambda multiplier, seed: separable(multiplier), 1, 6),
        Scheme("3-D over the maps", lambda k, seed: (("c3", OverMaps3D(4 * k, KERNEL, **SQUASHED)),), 4, 20),
        Scheme("2-D, replicated", lambda maps, seed: (("c3", Replicated2D(maps, KERNEL, **SQUASHED)),), 16, 58),
    )
}
REFERENCE = "full"
BUDGETS = {
    "width": "equal width: 16 maps in C3, 120 in C5",
    "parameters": "equal parameters: about 1,516 in C3 and 60,838 in all",
}


@functools.cache
def build(scheme: str, budget: str, seed: int, whole: bool = True) -> Network:
    """A LeNet with this C3; with the budget "parameters" C5 is as wide as gives it as many in all as Table I has.

    It is LeNet-5 but for two things that make it cheap to train on two cores: C1 moves by two pixels, where LeNet-5
    sub-samples a C1 four times as large, and the output is a softmax. Its C3 reads the same 6 maps of 14 x 14 pixels.
    Without `whole`, the part from C3 on, with six classes.
    """
    chosen = SCHEMES[scheme]
    c3 = chosen.layers(chosen.for_width if budget == "width" else chosen.for_parameters, seed)

    def network(c5: int) -> Network:
        first = (("c1", Conv2D(S2_MAPS, KERNEL, stride=2, **SQUASHED)),) if whole else ()
        rest = (
            ("s4", Subsample2D(2, weight_init=Constant(0.25), **SQUASHED)),
            ("c5", Conv2D(c5, KERNEL, **SQUASHED)),
            ("f6", Dense(84, **SQUASHED)),
            ("output", Dense(10 if whole else S2_MAPS)),
        )
        start = Input((32, 32, 1), background=-0.1, foreground=1.175) if whole else Input((14, 14, S2_MAPS))
        return Network(f"a LeNet with C3: {scheme}", start, (*first, *c3, *rest))

    if budget == "width":
        return network(c5=120)
    sought = cnnjax.summary(build("Table I", "width", seed, whole)).num_parameters
    one, two = (cnnjax.summary(network(c5)).num_parameters for c5 in (1, 2))
    return network(c5=1 + round((sought - one) / (two - one)))


def c3_counts(network: Network) -> Counts:
    """Weights, biases, connections and multiply-accumulates of C3, both of its layers where it has two."""
    shapes = network.input_shapes()
    parts = [layer.counts(shapes[name]) for name, layer in network.layers if name.startswith("c3")]
    fields = ("num_weights", "num_biases", "num_connections", "num_macs")
    return Counts(**{field: sum(getattr(part, field) for part in parts) for field in fields})


# --- the tasks


@dataclass(frozen=True)
class Task:
    """What is learned, images uint8, and whether by the whole network or by the part from C3 on."""

    data: ImageData
    whole: bool


def which_map(bars: int, seed: int = 0) -> Task:
    """Six maps, a bar at a random place in one of them, nothing in the others; the class is the number of the map.

    Every bar is shown once in each map. The sum of the maps is the same all six times, and so is whatever is computed
    from it: a replicated kernel puts the six images into one of the six classes, and is right once and wrong five
    times, whatever its weights.
    """
    random = np.random.default_rng(seed)

    def draw(bars: int) -> tuple[np.ndarray, np.ndarray]:
        maps = np.zeros((bars, S2_MAPS, 14, 14, S2_MAPS), np.uint8)
        for bar, (row, column) in enumerate(random.integers(0, 10, (bars, 2))):
            for c in range(S2_MAPS):
                maps[bar, c, row : row + 5, column, c] = 255
        return maps.reshape(-1, 14, 14, S2_MAPS), np.tile(np.arange(S2_MAPS, dtype=np.uint8), bars)

    source = f"Which map: {bars} bars to train and 100 to test, each once in each of six maps."
    return Task(ImageData(*draw(bars), *draw(100), WHICH_MAP, source, tuple("012345")), whole=False)


def tasks(options: argparse.Namespace) -> list[Task]:
    """The tasks that were asked for."""
    found = []
    try:
        if not options.quick:
            found.append(Task(cnnjax.datasets.mnist(options.data), whole=True))
        if options.fashion:
            found.append(Task(cnnjax.datasets.fashion_mnist(options.fashion), whole=True))
    except (cnnjax.CnnjaxError, OSError) as error:
        raise SystemExit(f"{error}") from error
    return [*found, which_map(options.bars)]


# --- one run

BATCH = 128


def optimizer(steps: int) -> optax.GradientTransformation:
    """Adam, its rate rising for a tenth of the steps and then falling to 0 along a cosine."""
    return optax.adam(optax.warmup_cosine_decay_schedule(0.0, 4e-3, max(steps // 10, 1), steps))


@functools.cache
def step_of(network: Network, steps: int) -> Callable[..., Any]:
    """The jitted step of a network: compiled once for all its runs."""
    return training.make_step(network, training.default_loss(network), optimizer(steps))


def run(task: Task, scheme: str, budget: str, seed: int, epochs: int) -> dict[str, Any]:
    """Train once; return what is kept of it."""
    started = time.process_time()
    network, data = build(scheme, budget, seed, task.whole), task.data
    batches = len(data.train_labels) // BATCH
    params = network.init(jax.random.key(seed))
    memory = optimizer(epochs * batches).init(params)
    state, step = training.TrainState(params, memory, jnp.zeros((), jnp.int32)), step_of(network, epochs * batches)
    key, losses = jax.random.key(seed), []
    for number in range(epochs):
        order = training.sample_order(seed, number, len(data.train_labels))[: batches * BATCH].reshape(batches, BATCH)
        losses = []
        for rows in order:
            state, loss, _ = step(state, data.train_images[rows], data.train_labels[rows], key)
            losses.append(loss)
    error = training.error_rate(network, state.params, data.test_images, data.test_labels, batch_size=100)
    return {
        "task": data.name,
        "scheme": scheme,
        "budget": budget,
        "seed": seed,
        "test_error": round(error, 4),
        "loss": round(float(jnp.mean(jnp.stack(losses))), 5),
        "trained_on": len(data.train_labels),
        "tested_on": len(data.test_labels),
        "epochs": epochs,
        "cpu_seconds": round(time.process_time() - started, 1),
    }


Choice = tuple[str, str, int, str]


def wanted(names: Sequence[str], seeds: int) -> list[Choice]:
    """Every (scheme, budget, seed, task), table by table, and in it a seed at a time: what is stopped early has pairs.

    Where both budgets ask for the same network it is trained once; the made-up task has the budget "width" only.
    """
    alike = {name for name, scheme in SCHEMES.items() if scheme.for_width == scheme.for_parameters}
    return [
        (scheme, budget, seed, task)
        for budget in BUDGETS
        for task in names
        for seed in range(seeds)
        for scheme in SCHEMES
        if budget == "width" or (scheme not in alike and task != WHICH_MAP)
    ]


# --- what comes out


def errors_of(runs: Sequence[dict[str, Any]], task: str, scheme: str, budget: str) -> dict[int, float]:
    """The test error of each seed; of the other budget where both ask for the same network."""
    alike = SCHEMES[scheme].for_width == SCHEMES[scheme].for_parameters
    budget = "width" if alike else budget
    mine = [r for r in runs if (r["task"], r["scheme"], r["budget"]) == (task, scheme, budget)]
    return {r["seed"]: r["test_error"] for r in mine}


@dataclass(frozen=True)
class Compared:
    """A scheme beside the reference, over the seeds that both have: the mean of the differences, and their spread."""

    scheme: str
    seeds: int
    mean: float
    deviation: float
    difference: float
    low: float
    high: float
    p: float


def compare(runs: Sequence[dict[str, Any]], task: str, budget: str) -> list[Compared]:
    """Every scheme against full connection, paired by seed (Student's t), p-values as scipy gives them.

    A seed fixes the order of the images in both. With fewer than `ENOUGH` seeds there is no test, because two or three
    numbers carry no verdict.
    """
    reference = errors_of(runs, task, REFERENCE, budget)
    rows = []
    for scheme in SCHEMES:
        errors = errors_of(runs, task, scheme, budget)
        seeds = sorted(set(errors) & set(reference))
        if not seeds:
            continue
        mine, theirs = [errors[seed] for seed in seeds], [reference[seed] for seed in seeds]
        gaps = np.subtract(mine, theirs)
        deviation, low, high, p = (float("nan"),) * 4
        if len(seeds) > 1:
            deviation = statistics.stdev(mine)
        if len(seeds) >= ENOUGH and np.ptp(gaps) > 0:
            test: Any = scipy.stats.ttest_rel(mine, theirs)
            interval = test.confidence_interval(0.95)
            low, high, p = float(interval.low), float(interval.high), float(test.pvalue)
        rows.append(Compared(scheme, len(seeds), statistics.fmean(mine), deviation, float(gaps.mean()), low, high, p))
    return rows


def adjusted(rows: Sequence[Compared]) -> dict[str, float]:
    """The p-values of one table after Benjamini and Hochberg, because it holds several."""
    tested = [row for row in rows if not np.isnan(row.p)]
    values = scipy.stats.false_discovery_control([row.p for row in tested]) if tested else []
    return {row.scheme: float(value) for row, value in zip(tested, values, strict=True)}


def comparisons(runs: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[Compared]]:
    """What is compared, for every (task, budget) that has runs."""
    asked = dict.fromkeys((run["task"], budget) for run in runs for budget in BUDGETS)
    have = {(run["task"], run["budget"]) for run in runs}
    found = {(task, budget): compare(runs, task, budget) for task, budget in asked if (task, budget) in have}
    return {key: rows for key, rows in found.items() if rows}


def draw(runs: Sequence[dict[str, Any]]) -> Figure:
    """A panel for each task and budget: a dot for each seed, a line for the mean."""
    tables = comparisons(runs)
    columns = min(2, len(tables))
    rows = -(-len(tables) // columns)
    figure = new_figure(4.6 * columns, 2.5 * rows + 0.3, "Test error of each scheme, a dot a seed (%)")
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes in grid:
        axes.set_axis_off()
    for axes, ((task, budget), compared) in zip(grid, tables.items(), strict=False):
        axes.set_axis_on()
        for place, row in enumerate(compared):
            errors = list(errors_of(runs, task, row.scheme, budget).values())
            colour = INK if row.scheme == REFERENCE else BLUE
            axes.plot(errors, [place] * len(errors), "o", color=colour, alpha=0.55, markersize=4)
            axes.plot([statistics.fmean(errors)] * 2, [place - 0.32, place + 0.32], color=ACCENT, linewidth=2)
        axes.set_yticks(range(len(compared)), [row.scheme for row in compared], fontsize=8)
        axes.invert_yaxis()
        axes.set_title(f"{task}, equal {budget}", fontsize=9, color=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure


def page(runs: Sequence[dict[str, Any]], where: dict[str, Any]) -> str:
    """The page of the docs: what was asked, the counts, the errors, what follows and what does not."""
    title, _, introduction = INTRODUCTION.strip().partition("\n\n")
    parts = [title, *unfinished(runs), introduction, *map(counts_table, BUDGETS)]
    parts.append("## Test errors\n\n![A dot for each seed](../figures/connection_schemes.png)")
    for (task, budget), compared in comparisons(runs).items():
        parts.append(f"### {task}, {BUDGETS[budget]}\n\n{errors_table(compared)}")
    parts.append(f"## What follows\n\n{findings(runs)}\n\n{CAVEATS.strip()}")
    sizes = dict.fromkeys(
        f"{run['task']}: {run['trained_on']:,} to train on, {run['tested_on']:,} to test, epochs: {run['epochs']}"
        for run in runs
    )
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items() if version[0].isdigit())
    seconds = sum(run["cpu_seconds"] for run in runs)
    parts.append(
        f"## How it was run\n\n{'; '.join(sizes)}; batches of {BATCH}. {len(runs)} runs, {seconds / 60:.0f} minutes of "
        f"processor time. Python {where['python']}, {versions}; {where['processor']}. The runs, one a line, with their "
        "seeds: [connection_schemes.jsonl](../records/connection_schemes.jsonl)."
    )
    return "\n\n".join(parts) + "\n"


def unfinished(runs: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader has to know first where not every run of the plan is there: which are."""
    plan = wanted(PLANNED, ENOUGH)
    done = {(run["scheme"], run["budget"], run["seed"], run["task"]) for run in runs}.intersection(plan)
    if len(done) == len(plan):
        return []
    tables = dict.fromkeys((task, budget) for _, budget, _, task in plan)
    counts = [
        f"{task}, equal {budget}: {sum(d[1] == budget and d[3] == task for d in done)} of "
        f"{sum(p[1] == budget and p[3] == task for p in plan)}"
        for task, budget in tables
    ]
    return [
        f"**This page is not complete: {len(done)} of the {len(plan)} planned runs are done** ({'; '.join(counts)}). "
        f"Where a table below has fewer than {ENOUGH} seeds it is not tested, and nothing follows from it."
    ]


INTRODUCTION = """
# Connection schemes, compared

C3 of LeNet-5 makes 16 maps out of 6. Which of the 6 should each of the 16 read? Written by
`experiments/connection_schemes.py`, from its runs: eight schemes in the place of C3 of one LeNet, all else alike.

- **full**: every map reads every map, the ordinary convolution
- **Table I**: the table of LeNet-5, 60 links of 96
- **random, 60 links**: as many links at random places, another table for each seed
- **two groups**: the first half reads the maps 0 to 2, the second half the maps 3 to 5
- **depthwise**: every map reads one map
- **depthwise + 1x1**: a 5x5 kernel for each input map, then sums of single pixels over the maps
- **3-D over the maps**: a kernel three maps deep that slides along the maps too, so that they have an order
- **2-D, replicated**: every map reads all maps through one and the same 5x5 slice, which is reading their sum

The network is LeNet-5 but for two things that save time: C1 moves by two pixels in the place of being sub-sampled, and
the output is a softmax. Two comparisons: with 16 maps whatever they cost; and with as many parameters as Table I has,
in C3 (by its number of maps) and in all (by the number of units of C5).
"""

CAVEATS = """
**What one cannot conclude.**

- *That a scheme is better in general.* These are two data sets of small grey images, one network, one optimiser and one
  or two epochs; a scheme that learns faster is not told apart from one that ends lower.
- *That schemes without a difference are equal.* The intervals say how large a difference could have been missed. The
  spread is that of seeds (initial weights, order of the images); the test images are the same in all runs, and 10,000
  of them leave a standard error of their own, 0.1 % at an error of 1 %, which is not in these intervals.
- *That Table I was a bad idea in 1998.* It was chosen to save connections and to make maps differ. Here it saves 900 of
  2,400 weights, and the test is whether that costs anything.
- *From equal parameters alone.* Where many cheap maps are read by C5, C5 has to be narrower: two things change at once.
"""


def counts_table(budget: str) -> str:
    """What C3 costs under each scheme."""
    lines = [
        f"## What each costs, {BUDGETS[budget]}\n",
        "| scheme | maps | weights of C3 | biases | connections | multiply-adds | parameters of the network |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for scheme in SCHEMES:
        network = build(scheme, budget, seed=0)
        counts, maps = c3_counts(network), network.shapes()["c3"][-1]
        numbers = (maps, counts.num_weights, counts.num_biases, counts.num_connections, counts.num_macs)
        cells = " | ".join(f"{number:,}" for number in (*numbers, cnnjax.summary(network).num_parameters))
        lines.append(f"| {scheme} | {cells} |")
    return "\n".join(lines)


def errors_table(compared: Sequence[Compared]) -> str:
    """The errors of one task and budget, beside full connection."""
    p = adjusted(compared)
    lines = [
        "| scheme | seeds | test error, % | less that of full | 95 % interval | p, adjusted |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in compared:
        spread = "" if np.isnan(row.deviation) else f" ± {row.deviation:.2f}"
        interval = "" if np.isnan(row.low) else f"{row.low:+.2f} to {row.high:+.2f}"
        gap = "" if row.scheme == REFERENCE else f"{row.difference:+.2f}"
        value = f"{p[row.scheme]:.3f}" if row.scheme in p else ""
        lines.append(f"| {row.scheme} | {row.seeds} | {row.mean:.2f}{spread} | {gap} | {interval} | {value} |")
    return "\n".join(lines)


def findings(runs: Sequence[dict[str, Any]]) -> str:
    """For each table, which schemes differ from full connection at an adjusted p below 0.05, and which do not."""
    lines = [
        "±: standard deviation over seeds. Differences are paired by seed, with Student's t interval; p-values are"
    ]
    lines += ["adjusted within a table after Benjamini and Hochberg.\n"]
    for (task, budget), compared in comparisons(runs).items():
        p, name = adjusted(compared), f"- *{task}, equal {budget}*"
        if not p:
            seeds = max(row.seeds for row in compared)
            why = f"{seeds} of {ENOUGH} seeds" if seeds < ENOUGH else "no spread among the seeds"
            lines.append(f"{name}: {why}, so nothing was tested and nothing follows.")
            continue
        names = {
            "worse than full": [r.scheme for r in compared if p.get(r.scheme, 1) < 0.05 and r.difference > 0],
            "better than full": [r.scheme for r in compared if p.get(r.scheme, 1) < 0.05 and r.difference < 0],
            "not told apart from full": [r.scheme for r in compared if r.scheme in p and p[r.scheme] >= 0.05],
        }
        words = "; ".join(f"{verdict}: {', '.join(found)}" for verdict, found in names.items() if found)
        lines.append(f"{name}: {words}.")
    chance = [run["test_error"] for run in runs if (run["task"], run["scheme"]) == (WHICH_MAP, "2-D, replicated")]
    if chance:
        lines.append(
            f"\nOn the task *{WHICH_MAP}* the replicated kernel errs on {min(chance):.2f} to {max(chance):.2f} % of "
            "the images. It must err on exactly 5 of 6 with any weights, because each bar is shown once in each of six "
            "maps and their sum is the same six times."
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and write the page; return the exit status."""
    options = parse(arguments)
    folders = make_folders(options.out)
    lines = folders.records / "connection_schemes.jsonl"
    if not options.report:
        try:
            work(options, lines)
        except KeyboardInterrupt:
            print("\nInterrupted: the runs that are done are kept; the same command goes on.", file=sys.stderr)
    found = read_lines(lines)
    runs = [line for line in found if "scheme" in line]
    if not runs:
        raise SystemExit(f"--out: {lines} has no runs yet; call without --report first.")
    (folders.results / "connection_schemes.md").write_text(page(runs, found[0]["environment"]))
    draw(runs).savefig(folders.figures / "connection_schemes.png")
    print(f"Written to {options.out}: results/connection_schemes.md, figures/connection_schemes.png")
    return 0


def work(options: argparse.Namespace, lines: Path) -> None:
    """Do the runs that the file does not have yet."""
    todo = {task.data.name: task for task in tasks(options)}
    epochs = {name: options.epochs * (8 if name == WHICH_MAP else 1) for name in todo}
    done = set()
    for line in [line for line in read_lines(lines) if line.get("task") in todo]:
        asked = (len(todo[line["task"]].data.train_labels), epochs[line["task"]])
        if (line["trained_on"], line["epochs"]) != asked:
            raise SystemExit(
                f"--out: {lines} has {line['task']} on {line['trained_on']:,} images in {line['epochs']} epochs,"
                f" now asked for on {asked[0]:,} in {asked[1]}; they cannot be compared. Name another folder."
            )
        done.add((line["scheme"], line["budget"], line["seed"], line["task"]))
    left = [choice for choice in wanted(list(todo), options.seeds) if choice not in done]
    sources = [task.data.source for task in todo.values()]
    print("\n".join([f"{len(left)} runs to do", *sources]), flush=True)
    if left:
        append_line(lines, {"environment": environment(), "data": sources})
    for number, (scheme, budget, seed, task) in enumerate(left, 1):
        result = run(todo[task], scheme, budget, seed, epochs[task])
        append_line(lines, result)
        print(
            f"{number}/{len(left)} {task}, {scheme}, equal {budget}, seed {seed}: {result['test_error']:.2f} % "
            f"in {result['cpu_seconds']:.0f} s of CPU",
            flush=True,
        )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--data", type=Path, help="folder with the IDX files of the full MNIST; else 5,000 digits")
    parser.add_argument("--fashion", type=Path, help="folder with the IDX files of Fashion-MNIST; else not used")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each scheme (5; with --quick 2)")
    parser.add_argument("--epochs", type=int, help="passes over the images (1; with --quick 2); 8 times that over bars")
    parser.add_argument("--bars", type=int, help="of the made-up task, to train on (500; with --quick 200)")
    parser.add_argument("--out", type=Path, default=Path("results/connection_schemes"), help="folder for records/, results/ and figures/")
    parser.add_argument("--report", action="store_true", help="only write the page, from the runs that are there")
    parser.add_argument("--quick", action="store_true", help="the made-up task alone, two seeds")
    options = parser.parse_args(arguments)
    options.bars = options.bars or (200 if options.quick else 500)
    options.seeds = 2 if options.quick else options.seeds
    options.epochs = options.epochs or (2 if options.quick else 1)
    return options


if __name__ == "__main__":
    sys.exit(main())
