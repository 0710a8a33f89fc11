"""The results page of lenet5_1998.py and its figures, written from the runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from drawing import ACCENT, BLUE, FAINT, INK, new_figure
from lenet5_1998_plan import HEADLINES, OPEN, OTHERS, PLANS, SIZES, TARGETS, TRIED, Planned, runs_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tables import LEFT, RIGHT, mean_and_deviation, software_and_machine, table

CAPTIONS = {
    "passes": "Test and training error after each pass",
    "confusion": "Confusion matrix of the misclassified test digits",
    "rejection": "Error among the accepted digits against the rejection rate",
    "sizes": "Test and training error against the size of the training set",
}
Runs = Sequence[dict[str, Any]]


def page(runs: Runs, start: dict[str, Any]) -> str:
    """The page, from the runs and the record of the step sizes at the initial weights."""
    parts = [
        "# LeNet-5 on MNIST by the recipe of 1998",
        'The test error of LeNet-5 by the recipe of its paper and by a modern recipe ("today"). Generated from '
        "its [runs](../records/lenet5_1998.jsonl) by\n\n"
        "```console\n$ python experiments/lenet5_1998.py --data FOLDER --plan all --out docs\n```\n\nThe guide "
        "[Repeating the experiment of 1998](../guides/lenet5_1998.md) describes the recipe, what the paper leaves open "
        "and how the choices were made.",
    ]
    missing = [name for name, planned in PLANS["all"].items() if len(runs_of(runs, planned)) < planned.seeds]
    if missing:
        parts.append(f"**Not all that is planned has been run.** Missing: {'; '.join(missing)}.")
    parts += [
        "## Test error",
        "Errors on the 10,000 test digits after the last pass, mean ± standard deviation over seeds; no choice was "
        "based on these digits. The targets are errors to reach; those of the first two rows are the paper's own.",
        errors_table(runs, HEADLINES, "test error (%)", targets=True),
        *(f"![{CAPTIONS[name]}](../figures/lenet5_1998_{name}.png)" for name in draw(runs)),
        rejection_of(runs),
        "## Other runs",
        "Other runs evaluated on the test digits; the last five precede the choices made on the validation split.",
        errors_table(runs, OTHERS, "test error (%)"),
        "## Training-set size",
        errors_table(runs, SIZES, "test error (%)"),
        "## Choices that the paper leaves open",
        "Trained on the first 50,000 digits of the training set and validated on its last 10,000.",
        errors_table(runs, OPEN, "validation error (%)"),
        "Step sizes eta / (mu + h) of the first pass, estimated at the initial weights of seed 0:",
        step_sizes_table(start["rates"]),
        "## Choices for the modern recipe",
        "Trained and validated on the same split.",
        errors_table(runs, TRIED, "validation error (%)"),
        "## Setup",
        f"{len(runs)} runs, {sum(run['cpu_seconds'] for run in runs) / 60:.0f} minutes of CPU time. "
        f"{software_and_machine(start['environment'])} The [record](../records/lenet5_1998.jsonl) has one run per "
        "line, with its recipe, seed, history and every misclassified digit.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def errors_table(runs: Runs, plan: dict[str, Planned], measured: str, *, targets: bool = False) -> str:
    """A row for each recipe of a plan."""
    columns = {"recipe": LEFT, "passes": RIGHT, "training digits": RIGHT, measured: RIGHT, "per seed": LEFT}
    columns |= {"training error (%)": RIGHT} | ({"target": RIGHT} if targets else {})
    rows = []
    for name, planned in plan.items():
        found = runs_of(runs, planned)
        errors = [run["test_error"] for run in found]
        row = [name.rpartition(": ")[2], str(planned.recipe.passes), f"{found[0]['trained_on']:,}" if found else ""]
        row += [mean_and_deviation(errors), ", ".join(f"{error:.2f}" for error in errors)]
        row += [mean_and_deviation([run["train_error"] for run in found])]
        rows.append(row + ([f"{TARGETS[name]:.2f}"] if targets else []))
    return table(columns, rows)


def step_sizes_table(rows: Sequence[dict[str, Any]]) -> str:
    """The effective step sizes of the first pass, beside those that the paper reports."""
    columns = {"initial weights": LEFT, "sub-sampling": LEFT, "smallest": RIGHT, "largest": RIGHT}
    cells = [[row["start"], row["window"], f"{row['least']:.1e}", f"{row['most']:.1e}"] for row in rows]
    return table(columns, [*cells, ["paper", "", "7e-05", "1.6e-02"]])


def rejection_of(runs: Runs) -> str:
    """The rejection rate at which the error falls to 0.5 %."""
    rates: dict[str, list[float]] = {}
    for name, planned in HEADLINES.items():
        for run in runs_of(runs, planned):
            rejected, left = rejection_curve(run["mistakes"], run["tested_on"])
            rates.setdefault(name, []).append(float(rejected[np.argmax(left <= 0.5)]))
    if not rates:
        return ""
    found = "; ".join(f"{name} {mean_and_deviation(values)} %" for name, values in rates.items())
    return (
        "Rejection rate needed for an error of 0.5 % among the accepted digits, rejecting the least confident first: "
        f"{found}. The paper reports 1.8 % for LeNet-4, 3.7 % for LeNet-1 and none for LeNet-5."
    )


def rejection_curve(mistakes: Sequence[dict[str, int]], tested: int) -> tuple[np.ndarray, np.ndarray]:
    """Rejection rates (%), least confident digits first, and the errors (%) among the accepted digits."""
    ranks = np.sort([mistake["less_sure"] for mistake in mistakes])
    count = np.arange(tested // 5)
    left = len(ranks) - np.searchsorted(ranks, count)
    return 100 * count / tested, 100 * left / (tested - count)


# --- the figures


def draw(runs: Runs) -> dict[str, Figure]:
    """The figures for which there are runs."""
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
    """Figure 5 of the paper: error after each pass."""
    figure = new_figure(6, 3.4, "Error after each pass (%)")
    axes = figure.subplots()
    for name, colour in (("paper", INK), ("paper, distorted", ACCENT)):
        for place, run in enumerate(found[name]):
            passes = [entry["pass"] for entry in run["history"]]
            for kind, style, label in (("test", "-", "test"), ("train", ":", "training, during the pass")):
                errors = [entry[f"{kind}_error"] for entry in run["history"]]
                axes.plot(passes, errors, style, color=colour, label=None if place else f"{name}: {label}")
    axes.set(xlabel="passes over the training set", ylim=(0, 3), xticks=range(0, 21, 2))
    return finished(figure, axes)


def draw_confusion(runs: Runs) -> Figure:
    """The confusion matrix without its diagonal, the mean over seeds."""
    counts = np.zeros((10, 10))
    for run in runs:
        for mistake in run["mistakes"]:
            counts[mistake["label"], mistake["answer"]] += 1 / len(runs)
    figure = new_figure(4.6, 4.4, f"Misclassified of {runs[0]['tested_on']:,} digits, mean of {len(runs)} runs")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    for label, answer in zip(*np.nonzero(counts), strict=True):
        shade = "white" if counts[label, answer] > counts.max() / 2 else INK
        axes.text(answer, label, f"{counts[label, answer]:.2g}", ha="center", va="center", fontsize=7, color=shade)
    axes.set(xticks=range(10), yticks=range(10), xlabel="predicted class", ylabel="true class")
    return figure


def draw_rejection(found: dict[str, list[dict[str, Any]]]) -> Figure:
    """Error among the accepted digits against the rejection rate."""
    figure = new_figure(6, 3.4, "Error among the accepted digits (%)")
    axes = figure.subplots()
    for name, colour in zip(HEADLINES, (INK, ACCENT, BLUE, "#6a9a4b"), strict=True):
        for place, run in enumerate(found[name]):
            curve = rejection_curve(run["mistakes"], run["tested_on"])
            axes.plot(*curve, color=colour, label=None if place else name)
    axes.axhline(0.5, color="#8a949d", linewidth=0.8)
    axes.set(xlabel="rejected (%)", xlim=(0, 5), ylim=(0, 1.2))
    return finished(figure, axes)


def draw_sizes(found: dict[str, list[dict[str, Any]]]) -> Figure:
    """Figure 6 of the paper: error against the size of the training set."""
    figure = new_figure(5, 3.2, "Error against training-set size (%)")
    axes = figure.subplots()
    rows = [run for name in (*SIZES, "paper") for run in found[name]]
    digits = [run["trained_on"] for run in rows]
    axes.plot(digits, [run["test_error"] for run in rows], "o", color=INK, label="test")
    axes.plot(digits, [run["train_error"] for run in rows], "s", color=BLUE, label="training")
    axes.plot([15_000, 30_000, 60_000], [1.7, 1.14, 0.95], "o", mfc="none", color=ACCENT, label="paper: test")
    axes.plot([15_000, 30_000, 60_000], [0.05, 0.31, 0.35], "s", mfc="none", color=ACCENT, label="paper: training")
    axes.set(xlabel="training digits", ylim=(0, None), xlim=(0, 63_000))
    return finished(figure, axes)


def finished(figure: Figure, axes: Axes) -> Figure:
    """Add a legend and a light grid."""
    axes.legend(fontsize=8, frameon=False)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
