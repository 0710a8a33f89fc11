"""What error do the deeplearning.net tutorial's LeNet and the network of 4 and 6 maps reach with its early stopping?

The tutorial's training: plain gradient descent at learning rate 0.1 on the softmax cross-entropy, 50,000 digits in
batches of 500 in their stored order. After each pass the error on 10,000 validation digits is measured. The patience is
10,000 iterations; an improvement to less than 0.995 of the best error extends it to twice the current iteration. The
test error is that of the weights with the lowest validation error.

Expected for the tutorial's network, as the tutorial reports: 0.91 % validation and 0.92 % test error at iteration
17,800, after 380 minutes on a CPU of 2010. Run time on one core: an hour, and ten minutes for the network of 4 and 6
maps; --quick: half a minute. An interrupted run resumes after its last pass. The committed records are
docs/records/lenet_tutorial.json and docs/records/four_to_six.json.

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
"""The tutorial's seed; its random number generator is another one."""
BATCH, RATE, MAX_PASSES = 500, 0.1, 200
PATIENCE, PATIENCE_INCREASE, IMPROVEMENT_THRESHOLD = 10_000, 2, 0.995
VALIDATION_DIGITS = 10_000
"""The last digits of the training set."""


@dataclasses.dataclass
class Progress:
    """The state of a run. `best` has the errors (%) at the iteration with the lowest validation error."""

    passes: int = 0
    patience: int = dataclasses.field(default_factory=lambda: PATIENCE)
    ended: str = ""
    best: dict[str, float] = dataclasses.field(default_factory=lambda: {"validation_error": float("inf")})
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    cpu_seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the networks that are not finished; return the exit status."""
    options = parse(arguments)
    make_folder(options.out)
    data = load(options)
    print(data.source)
    for name in options.networks:
        train(name, data, options)
    return 0


def train(name: str, data: cnnjax.datasets.ImageData, options: argparse.Namespace) -> Progress:
    """Train one network from its last saved pass; save its record and weights after each pass."""
    network = NETWORKS[name]()
    validation_digits = min(VALIDATION_DIGITS, len(data.train_labels) // 6)
    images, labels = (
        jnp.asarray(data.train_images[:-validation_digits]),
        jnp.asarray(data.train_labels[:-validation_digits]),
    )
    validation = data.train_images[-validation_digits:], data.train_labels[-validation_digits:]
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
            if error < IMPROVEMENT_THRESHOLD * progress.best["validation_error"]:
                progress.patience = max(progress.patience, PATIENCE_INCREASE * (after - 1))
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
    """Save the weights before the record, so that no record is ahead of its weights."""
    leaves = jax.tree.leaves(params)
    unfinished = out / f".{name}.npz"
    np.savez(unfinished, *map(np.asarray, leaves), passes=progress.passes)
    unfinished.replace(out / f"{name}.npz")
    record = {"question": QUESTION, "network": name, "seed": SEED}
    record |= {"data": without_folders(source), "environment": environment()}
    save_json(out / f"{name}.json", record | dataclasses.asdict(progress))


def resumed(name: str, out: Path, start: Any) -> tuple[Progress, Any]:
    """The last pass with both weights and record, or the start."""
    record, weights = out / f"{name}.json", out / f"{name}.npz"
    if not (record.exists() and weights.exists()):
        return Progress(), start
    known = {field.name for field in dataclasses.fields(Progress)}
    progress = Progress(**{k: v for k, v in json.loads(record.read_text()).items() if k in known})
    with np.load(weights) as stored:
        if int(stored["passes"]) != progress.passes:
            raise SystemExit(f"{weights} and {record} are of different passes; delete both to start again.")
        leaves = [jnp.asarray(stored[f"arr_{i}"]) for i in range(len(jax.tree.leaves(start)))]
    return progress, jax.tree.unflatten(jax.tree.structure(start), leaves)


def load(options: argparse.Namespace) -> cnnjax.datasets.ImageData:
    """The digits; with --quick the first 1,200 and 1,000."""
    data = read_digits(options.data, download=options.download)
    return first_digits(data, 1200, 1000) if options.quick else data


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help=f"some of {', '.join(NETWORKS)} (all)")
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of the full MNIST (plain or .gz)")
    parser.add_argument("--download", action="store_true", help="download the full MNIST to --data or the user's cache")
    parser.add_argument("--passes", type=int, help=f"maximum number of passes ({MAX_PASSES}; with --quick 2)")
    parser.add_argument("--out", type=Path, default=Path("results/lenet_tutorial"), help="folder for the results")
    parser.add_argument("--quick", action="store_true", help="1,200 digits, two passes")
    options = parser.parse_args(arguments)
    if unknown := set(options.networks) - set(NETWORKS):
        parser.error(f"no such network: {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    options.passes = options.passes or (2 if options.quick else MAX_PASSES)
    return options


if __name__ == "__main__":
    sys.exit(main())
