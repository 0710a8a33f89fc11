"""The comparison of connection_schemes.py: statistics over seeds, and the results page and figure made from them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from connection_schemes_networks import (
    BUDGETS,
    REFERENCE,
    SCHEMES,
    SEEDS_FOR_A_TEST,
    TASKS,
    WHICH_MAP,
    build,
    c3_counts,
    planned,
)
from drawing import ACCENT, BLUE, FAINT, INK, new_figure
from matplotlib.figure import Figure
from tables import LEFT, RIGHT, software_and_machine, table

import cnnjax

Runs = Sequence[dict[str, Any]]
INTRODUCTION = """
C3 of LeNet-5 computes 16 maps from 6. Which of the 6 should each of the 16 read? Eight schemes replace C3 in an
otherwise identical LeNet. Generated from its [runs](../records/connection_schemes.jsonl) by

```console
$ python experiments/connection_schemes.py --data MNIST_FOLDER --fashion FASHION_MNIST_FOLDER --out docs
```

- **full**: every map reads every map, the ordinary convolution
- **Table I**: the connection table of LeNet-5, 60 of 96 links
- **random, 60 links**: 60 random links, drawn again for each seed
- **two groups**: the first half of the maps reads maps 0 to 2, the second half maps 3 to 5
- **depthwise**: every map reads one map
- **depthwise + 1x1**: a 5x5 kernel for each input map, followed by a 1x1 convolution over the maps
- **3-D over the maps**: a kernel three maps deep that also slides along the map axis, so the order of the maps matters
- **2-D, replicated**: every map reads all maps through the same 5x5 slice, which is reading their sum

The network is LeNet-5 with two changes that save time: C1 has stride 2 instead of being followed by sub-sampling, and
the output is a softmax. There are two comparisons: equal width, 16 maps in C3 whatever they cost; and equal parameters,
with as many as Table I has, both in C3 (set by its number of maps) and in total (set by the number of units in C5).

The tasks are MNIST, Fashion-MNIST, and a synthetic one, *which map*: C3 gets six maps, one of which contains a bar at a
random place, and the class is the number of that map.
"""
LIMITS = """
## What cannot be concluded

- *That a scheme is better in general.* These are two data sets of small grey images, one network, one optimizer and few
  epochs. A scheme that learns faster cannot be distinguished from one that ends at a lower error.
- *That schemes without a significant difference are equal.* The intervals say how large a difference may have been
  missed. The deviations are over seeds (initial weights and image order). The test images are the same in all runs, and
  their sampling error (a standard error of 0.1 % at an error of 1 % on 10,000 images) is not in these intervals.
- *That Table I was a bad idea in 1998.* It was chosen to save connections and to make maps differ. Here it saves 900 of
  2,400 weights, and the question is only whether that costs accuracy.
- *From equal parameters alone.* Where C5 reads many cheap maps it has to be narrower, so two things change at once.
"""


# --- the statistics


def errors_of(runs: Runs, task: str, scheme: str, budget: str) -> dict[int, float]:
    """The test error of each seed; a network that is the same under both budgets has runs of "width" only."""
    budget = "width" if SCHEMES[scheme].same_under_both_budgets else budget
    mine = [r for r in runs if (r["task"], r["scheme"], r["budget"]) == (task, scheme, budget)]
    return {r["seed"]: r["test_error"] for r in mine}


@dataclass(frozen=True)
class Comparison:
    """A scheme beside the reference, over the seeds that both have: its error, and the paired difference."""

    scheme: str
    seeds: int
    mean: float
    deviation: float
    difference: float
    low: float
    high: float
    p: float


def compare(runs: Runs, task: str, budget: str) -> list[Comparison]:
    """Every scheme against full connection, paired by seed, with Student's t test and its unadjusted p-value.

    A seed fixes the order of the images in both. Fewer than `SEEDS_FOR_A_TEST` seeds are not tested.
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
        if len(seeds) >= SEEDS_FOR_A_TEST and np.ptp(gaps) > 0:
            test: Any = scipy.stats.ttest_rel(mine, theirs)
            interval = test.confidence_interval(0.95)
            low, high, p = float(interval.low), float(interval.high), float(test.pvalue)
        rows.append(Comparison(scheme, len(seeds), statistics.fmean(mine), deviation, float(gaps.mean()), low, high, p))
    return rows


def adjusted(rows: Sequence[Comparison]) -> dict[str, float]:
    """The p-values of one table, adjusted for multiple comparisons by Benjamini and Hochberg's procedure."""
    tested = [row for row in rows if not np.isnan(row.p)]
    values = scipy.stats.false_discovery_control([row.p for row in tested]) if tested else []
    return {row.scheme: float(value) for row, value in zip(tested, values, strict=True)}


def comparisons(runs: Runs) -> dict[tuple[str, str], list[Comparison]]:
    """The comparisons of every (task, budget) that has runs."""
    pairs = dict.fromkeys((run["task"], budget) for run in runs for budget in BUDGETS)
    have = {(run["task"], run["budget"]) for run in runs}
    found = {(task, budget): compare(runs, task, budget) for task, budget in pairs if (task, budget) in have}
    return {key: rows for key, rows in found.items() if rows}


# --- the page


def page(runs: Runs, where: dict[str, Any]) -> str:
    """The page: the question, the counts, the errors, the findings and their limits."""
    parts = ["# Connection schemes for C3", *unfinished(runs), INTRODUCTION.strip()]
    for budget, description in BUDGETS.items():
        parts += [f"## Counts at {description}", counts_table(budget)]
    parts.append("## Test error\n\n![Test error of every seed and scheme](../figures/connection_schemes.png)")
    for (task, budget), compared in comparisons(runs).items():
        parts += [f"### {task}, {BUDGETS[budget]}", errors_table(compared)]
    parts += [f"## Findings\n\n{findings(runs)}", LIMITS.strip()]
    sizes = dict.fromkeys(
        f"- {run['task']}: {run['trained_on']:,} training and {run['tested_on']:,} test images, epochs: {run['epochs']}"
        for run in runs
    )
    parts += ["## Setup", "\n".join(sizes)]
    parts.append(
        f"Batches of 128, Adam with warm-up and cosine decay. {len(runs)} runs, "
        f"{sum(run['cpu_seconds'] for run in runs) / 60:.0f} minutes of CPU time. {software_and_machine(where)} The "
        "[record](../records/connection_schemes.jsonl) has one run per line, with its seed."
    )
    return "\n\n".join(parts) + "\n"


def unfinished(runs: Runs) -> list[str]:
    """A warning where not every planned run is there."""
    plan = planned(TASKS, SEEDS_FOR_A_TEST)
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
        f"A comparison with fewer than {SEEDS_FOR_A_TEST} seeds is not tested."
    ]


def counts_table(budget: str) -> str:
    """The size of C3 and of the network under each scheme."""
    columns = ("maps", "weights of C3", "biases", "connections", "multiply-accumulates", "parameters of the network")
    rows = []
    for scheme in SCHEMES:
        network = build(scheme, budget, seed=0)
        counts, maps = c3_counts(network), network.shapes()["c3"][-1]
        numbers = (maps, counts.num_weights, counts.num_biases, counts.num_connections, counts.num_macs)
        rows.append([scheme, *(f"{number:,}" for number in (*numbers, cnnjax.summary(network).num_parameters))])
    return table({"scheme": LEFT} | dict.fromkeys(columns, RIGHT), rows)


def errors_table(compared: Sequence[Comparison]) -> str:
    """The errors of one task and budget, and their differences from full connection."""
    columns = ("seeds", "test error (%)", "difference from full", "95 % interval", "adjusted p")
    p = adjusted(compared)
    rows = []
    for row in compared:
        deviation = "" if np.isnan(row.deviation) else f" ± {row.deviation:.2f}"
        interval = "" if np.isnan(row.low) else f"{row.low:+.2f} to {row.high:+.2f}"
        difference = "" if row.scheme == REFERENCE else f"{row.difference:+.2f}"
        value = "" if row.scheme not in p else "< 0.001" if p[row.scheme] < 0.0005 else f"{p[row.scheme]:.3f}"
        rows.append([row.scheme, str(row.seeds), f"{row.mean:.2f}{deviation}", difference, interval, value])
    return table({"scheme": LEFT} | dict.fromkeys(columns, RIGHT), rows)


def findings(runs: Runs) -> str:
    """For each table, which schemes differ from full connection at an adjusted p below 0.05, and which do not."""
    lines = [
        "± is the standard deviation over seeds. Differences are paired by seed, with Student's t interval; p-values "
        "are adjusted within a table by the Benjamini-Hochberg procedure, and below 0.05 a difference is significant.\n"
    ]
    for (task, budget), compared in comparisons(runs).items():
        p, name = adjusted(compared), f"- *{task}, equal {budget}*"
        if not p:
            seeds = max(row.seeds for row in compared)
            why = f"{seeds} of {SEEDS_FOR_A_TEST} seeds" if seeds < SEEDS_FOR_A_TEST else "no variation over the seeds"
            lines.append(f"{name}: {why}, so nothing was tested.")
            continue
        names = {
            "worse than full": [r.scheme for r in compared if p.get(r.scheme, 1) < 0.05 and r.difference > 0],
            "better than full": [r.scheme for r in compared if p.get(r.scheme, 1) < 0.05 and r.difference < 0],
            "No significant difference from full": [r.scheme for r in compared if p.get(r.scheme, 0) >= 0.05],
        }
        sentences = (f"{verdict}: {'; '.join(found)}." for verdict, found in names.items() if found)
        lines.append(f"{name}: {' '.join(sentences)}")
    chance = [run["test_error"] for run in runs if (run["task"], run["scheme"]) == (WHICH_MAP, "2-D, replicated")]
    if chance:
        errors = " to ".join(dict.fromkeys(f"{error:.2f}" for error in (min(chance), max(chance))))
        lines.append(
            f"\nOn the task *{WHICH_MAP}* the replicated kernel misclassifies {errors} % "
            "of the images. It must misclassify exactly 5 of 6 whatever its weights, because each bar is shown once in "
            "each of six maps and their sum is the same every time."
        )
    return "\n".join(lines)


# --- the figure


def draw(runs: Runs) -> Figure:
    """A panel per task and budget: a dot per seed, a line at the mean."""
    tables = comparisons(runs)
    columns = min(2, len(tables))
    rows = -(-len(tables) // columns)
    figure = new_figure(
        4.6 * columns, 2.5 * rows + 0.3, "Test error of each scheme (%): a dot per seed, a line at the mean"
    )
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
