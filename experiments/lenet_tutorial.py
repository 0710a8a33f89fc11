"""The LeNet of the deeplearning.net tutorial and the network of 4 and 6 maps: what error do they reach its way?

Its way: 50,000 digits in batches of 500 in their given order, rate 0.1, plain gradient descent on the softmax
cross-entropy; after each pass the error on 10,000 others is measured, and training ends when it has not improved for
half of the iterations (patience of 10,000, doubled by an improvement to less than 0.995 of the best). The weights with
the least validation error count.

Expected for the tutorial's network: 0.91 % of the validation and 0.92 % of the test digits, at iteration 17,800; the
tutorial took 380 minutes on a CPU of 2010. Run time on one core: about an hour for it, ten minutes for the network of 4
and 6 maps; --quick: half a minute. A run that was stopped goes on after its last pass.

    python experiments/lenet_tutorial.py --data folder/with/the/four/idx/files
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from command_line import first_digits, read_digits
from record import environment, make_folder, save_json, without_folders

import cnnjax
from cnnjax.training import TrainState, error_rate, softmax_cross_entropy
from cnnjax.training.online import make_pass

QUESTION = (__doc__ or "").partition("\n")[0]
NETWORKS = {"tutorial": cnnjax.models.lenet_tutorial, "four_to_six": cnnjax.models.four_to_six}
SEED = 23455
"""The tutorial's; its generator is another."""
BATCH, RATE, MOST_PASSES = 500, 0.1, 200
PATIENCE, MORE, ENOUGH = 10_000, 2, 0.995
VALIDATED_ON = 10_000
"""The last digits of the training set."""


@dataclasses.dataclass
class Progress:
    """Where a run is. `best` has the errors (%) at the iteration with the least validation error."""

    passes: int = 0
    patience: int = dataclasses.field(default_factory=lambda: PATIENCE)
    ended: str = ""
    best: dict[str, float] = dataclasses.field(default_factory=lambda: {"validation_error": float("inf")})
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    cpu_seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not trained to its end yet; return the exit status."""
    options = parse(arguments)
    make_folder(options.out)
    data = load(options)
    print(data.source)
    for name in options.networks:
        train(name, data, options)
    return 0


def train(name: str, data: cnnjax.datasets.ImageData, options: argparse.Namespace) -> Progress:
    """Train one network, from where it was left; after each pass its record and its weights are saved."""
    network = NETWORKS[name]()
    held_out = min(VALIDATED_ON, len(data.train_labels) // 6)
    images, labels = jnp.asarray(data.train_images[:-held_out]), jnp.asarray(data.train_labels[:-held_out])
    validation = data.train_images[-held_out:], data.train_labels[-held_out:]
    iterations = len(labels) // BATCH
    order = np.arange(iterations * BATCH).reshape(iterations, BATCH)

    optimizer = optax.sgd(RATE)
    params = network.init(jax.random.key(SEED))
    one_pass = make_pass(network, softmax_cross_entropy, optimizer)
    progress, params = resumed(name, options.out, params)
    state = TrainState(params, optimizer.init(params), jnp.asarray(progress.passes * iterations, jnp.int32))
    while not progress.ended:
        started = time.process_time()
        state, loss, wrong = one_pass(state, images, labels, order, jax.random.key(0))
        progress.passes += 1
        after = progress.passes * iterations
        error = error_rate(network, state.params, *validation)
        kept = {"iteration": after, "loss": float(loss), "train_error": 100 * float(wrong), "validation_error": error}
        progress.history.append(kept)
        if error < progress.best["validation_error"]:
            if error < ENOUGH * progress.best["validation_error"]:
                progress.patience = max(progress.patience, MORE * (after - 1))
            test_error = error_rate(network, state.params, data.test_images, data.test_labels)
            progress.best = {"iteration": after, "validation_error": error, "test_error": test_error}
        if progress.patience < after:
            progress.ended = "patience"
        elif progress.passes == options.passes:
            progress.ended = "passes"
        progress.cpu_seconds += time.process_time() - started
        save(name, options.out, progress, state.params, data.source)
        print(f"{name}: {kept} best {progress.best}", flush=True)
    return progress


def save(name: str, out: Path, progress: Progress, params: Any, source: str) -> None:
    """The weights first: a record without them would go on from other ones."""
    leaves = jax.tree.leaves(params)
    unfinished = out / f".{name}.npz"
    np.savez(unfinished, *map(np.asarray, leaves), passes=progress.passes)
    unfinished.replace(out / f"{name}.npz")
    record = {"question": QUESTION, "network": name, "seed": SEED}
    record |= {"data": without_folders(source), "environment": environment()}
    save_json(out / f"{name}.json", record | dataclasses.asdict(progress))


def resumed(name: str, out: Path, start: Any) -> tuple[Progress, Any]:
    """The last pass whose weights and record are both there, or the start."""
    record, weights = out / f"{name}.json", out / f"{name}.npz"
    if not (record.exists() and weights.exists()):
        return Progress(), start
    known = {field.name for field in dataclasses.fields(Progress)}
    progress = Progress(**{k: v for k, v in json.loads(record.read_text()).items() if k in known})
    with np.load(weights) as stored:
        if int(stored["passes"]) != progress.passes:
            raise SystemExit(f"{weights} and {record} are of different passes; delete both to start anew.")
        leaves = [jnp.asarray(stored[f"arr_{i}"]) for i in range(len(jax.tree.leaves(start)))]
    return progress, jax.tree.unflatten(jax.tree.structure(start), leaves)


def load(options: argparse.Namespace) -> cnnjax.datasets.ImageData:
    """The digits; under --quick the first 1,200 and 1,000."""
    data = read_digits(options.data, download=options.download)
    return first_digits(data, 1200, 1000) if options.quick else data


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help=f"some of {', '.join(NETWORKS)} (all)")
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of the full MNIST (plain or .gz)")
    parser.add_argument("--download", action="store_true", help="fetch the full MNIST, into --data or the user's cache")
    parser.add_argument("--passes", type=int, help=f"at most so many ({MOST_PASSES}; with --quick 2)")
    parser.add_argument("--out", type=Path, default=Path("results/lenet_tutorial"), help="folder for the results")
    parser.add_argument("--quick", action="store_true", help="1,200 digits, two passes")
    options = parser.parse_args(arguments)
    if unknown := set(options.networks) - set(NETWORKS):
        parser.error(f"no such network: {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    options.passes = options.passes or (2 if options.quick else MOST_PASSES)
    return options


if __name__ == "__main__":
    sys.exit(main())
