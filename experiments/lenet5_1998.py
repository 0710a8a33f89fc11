"""The experiment of 1998, repeated: the test error of LeNet-5 on MNIST by the recipe of its paper and by a modern one.

Expected, in % of the 10,000 test digits: 0.95 +- 0.1 by the paper's recipe, 0.8 with distorted digits, and less by a
modern recipe for the same 60,000 parameters. Run time on one core: about six minutes for a run of 20 passes, which
are 1.2 million steps of one image each (in 1998: two to three days); --quick: half a minute.

    python experiments/lenet5_1998.py --data FOLDER                     # the paper's recipe, three seeds
    python experiments/lenet5_1998.py --data FOLDER --plan explore      # what the paper leaves open, on validation data
    python experiments/lenet5_1998.py --data FOLDER --plan all --out docs
    python experiments/lenet5_1998.py --plan page --out docs            # the page and its figures, from the record

A finished run is a line of records/lenet5_1998.jsonl and is not repeated. results/lenet5_1998.md and its figures are
written from those lines; docs/guides/lenet5_1998.md explains the recipe.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from command_line import first_digits, read_digits
from lenet5_1998_page import draw, page
from lenet5_1998_plan import PLANS, Planned, key_of
from lenet5_1998_recipes import Data, Paper, Recipe, first_rates, network_of, record_of, train
from record import append_line, environment, make_folders, read_json, read_lines, save_json

from cnnjax.layers import Network
from cnnjax.training import error_rate

QUESTION = (__doc__ or "").partition("\n")[0]
VALIDATION_DIGITS = 10_000
"""The last digits of the training set, on which choices are made."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the planned runs that are missing; write the page and its figures."""
    options = parse(arguments)
    folders = make_folders(options.out)
    runs, rates = folders.records / "lenet5_1998.jsonl", folders.records / "lenet5_1998_rates.json"
    if options.plan != "page":
        data = load(options)
        print(data.source)
        carry_out(PLANS[options.plan], data, options, runs)
        if not rates.exists():
            save_json(rates, {"environment": environment(), "rates": first_rates(data)})
    finished = read_lines(runs)
    for name, figure in draw(finished).items():
        figure.savefig(folders.figures / f"lenet5_1998_{name}.png")
    (folders.results / "lenet5_1998.md").write_text(page(finished, read_json(rates)))
    return 0


def carry_out(plan: dict[str, Planned], data: Data, options: argparse.Namespace, runs: Path) -> None:
    """Do the runs of a plan that the file does not have yet, and append each to it."""
    done = {key_of(run["recipe"], run["seed"], run["on"]) for run in read_lines(runs)}
    for name, planned in plan.items():
        recipe = shortened(planned.recipe) if options.quick else planned.recipe
        for seed in options.seeds or range(planned.seeds):
            if key_of(record_of(recipe), seed, planned.on) in done:
                continue
            print(f"{name}, seed {seed}, {planned.on}: {recipe}", flush=True)
            used = data if planned.on == "test set" else validation_split(data)
            used = first_digits(used, recipe.digits, len(used.test_labels))
            append_line(runs, {**run(recipe, used, seed, planned.on), "environment": environment()})


def run(recipe: Recipe, data: Data, seed: int, on: str) -> dict[str, Any]:
    """Train and evaluate once; `on` says whether the test images of `data` are the test set or the validation split."""
    started = time.process_time()
    network, history = network_of(recipe), []
    test_each_pass = isinstance(recipe, Paper)

    def report(numbers: dict[str, Any], params: Any) -> None:
        if test_each_pass:
            numbers["test_error"] = error_rate(network, params, data.test_images, data.test_labels)
        history.append(numbers)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        print(f"  {shown}  ({time.process_time() - started:.0f} s)", flush=True)

    params = train(recipe, data, seed, report)
    distances = np.concatenate([_distances(network, params, part) for part in np.array_split(data.test_images, 20)])
    return {
        "recipe": record_of(recipe),
        "seed": seed,
        "on": on,
        "trained_on": len(data.train_labels),
        "tested_on": len(data.test_labels),
        "history": history,
        "train_error": error_rate(network, params, data.train_images, data.train_labels),
        "test_error": error_rate(network, params, data.test_images, data.test_labels),
        "mistakes": mistakes(distances, data.test_labels),
        "cpu_seconds": round(time.process_time() - started, 1),
    }


@jax.jit(static_argnums=0)
def _distances(network: Network, params: Any, images: np.ndarray) -> jax.Array:
    return network.apply(params, network.input.prepare(images))


def mistakes(distances: np.ndarray, labels: np.ndarray) -> list[dict[str, int]]:
    """Every misclassified digit, with the number of digits for which the network is less confident ("less_sure").

    Confidence is the gap between the smallest and the second-smallest distance.
    """
    first, second = np.partition(distances, 1, axis=1)[:, :2].T
    rank = np.empty(len(labels), int)
    rank[np.argsort(second - first, kind="stable")] = np.arange(len(labels))
    answers = distances.argmin(axis=1)
    wrong = np.flatnonzero(answers != labels)
    return [
        {"digit": int(i), "label": int(labels[i]), "answer": int(answers[i]), "less_sure": int(rank[i])} for i in wrong
    ]


def validation_split(data: Data) -> Data:
    """The training set without its last digits, with these in place of the test set."""
    images, labels = data.train_images, data.train_labels
    count = min(VALIDATION_DIGITS, len(labels) // 5)
    return replace(
        data,
        train_images=images[:-count],
        train_labels=labels[:-count],
        test_images=images[-count:],
        test_labels=labels[-count:],
    )


def shortened(recipe: Recipe) -> Recipe:
    """The recipe for a trial of a few seconds: a hundredth of the digits, two passes."""
    return replace(recipe, digits=min(recipe.digits, 60_000) // 100, passes=2)


def load(options: argparse.Namespace) -> Data:
    """The digits; with --quick at most 1,000 to test on."""
    data = read_digits(options.data, download=options.download)
    return first_digits(data, len(data.train_labels), 1000) if options.quick else data


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=QUESTION, epilog="Run times and expected results: see the script.")
    parser.add_argument("--plan", choices=PLANS, default="paper", help="which runs (paper); page: none, only the page")
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds to run instead of the planned ones")
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of the full MNIST (plain or .gz)")
    parser.add_argument("--download", action="store_true", help="download the full MNIST to --data or the user's cache")
    parser.add_argument("--out", type=Path, default=Path("results/lenet5_1998"), help="folder for the results")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the digits, two passes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
