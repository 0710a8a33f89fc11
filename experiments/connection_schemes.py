"""Which input map should feed which output map? Eight connection schemes for C3 of LeNet-5, compared.

Expected: on a task whose class is the position of a map among the others, a 2-D kernel replicated over the maps
misclassifies exactly 5 of 6 images whatever its weights, and every other scheme almost none. On digits and clothes the
schemes differ by some tenths of a percent after one epoch: depthwise is the worst at equal width, and the replicated
kernel is among the worst on digits at equal parameters and as good as full connection elsewhere.
Run time on two cores: --quick, half a minute; the small MNIST, five seeds: three minutes; the full MNIST and
Fashion-MNIST, five seeds: 180 runs of about ten seconds of CPU time. Finished runs are kept, so the script
can be interrupted and started again.

    python experiments/connection_schemes.py --quick
    python experiments/connection_schemes.py --data mnist/folder --fashion fashion-mnist/folder --out docs
    python experiments/connection_schemes.py --report --out docs      # the page and its figure, from the record
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from connection_schemes_networks import S2_MAPS, WHICH_MAP, build, planned
from connection_schemes_page import draw, page
from record import append_line, environment, make_folders, read_lines

import cnnjax
from cnnjax import Network, training
from cnnjax.datasets import ImageData

QUESTION = (__doc__ or "").partition("\n")[0]
BATCH = 128


# --- the tasks


@dataclass(frozen=True)
class Task:
    """A data set, and whether the whole network learns it or only the part from C3 on."""

    data: ImageData
    whole: bool


def which_map(bars: int, seed: int = 0) -> Task:
    """Six maps with a bar at a random place in one of them; the class is the number of that map.

    Every bar is shown once in each map. The sum of the maps is the same all six times, and so is everything computed
    from it: a replicated kernel assigns the six images to the same class, which is right once and wrong five times.
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
    """The requested tasks."""
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


def optimizer(steps: int) -> optax.GradientTransformation:
    """Adam, with linear warm-up for a tenth of the steps and cosine decay to 0."""
    return optax.adam(optax.warmup_cosine_decay_schedule(0.0, 4e-3, max(steps // 10, 1), steps))


@functools.cache
def step_of(network: Network, steps: int) -> Callable[..., Any]:
    """The jitted training step of a network, compiled once for all its runs."""
    return training.make_step(network, training.default_loss(network), optimizer(steps))


def run(task: Task, scheme: str, budget: str, seed: int, epochs: int) -> dict[str, Any]:
    """Train and test once; return the line of the record."""
    started = time.process_time()
    network, data = build(scheme, budget, seed, task.whole), task.data
    batches = len(data.train_labels) // BATCH
    params = network.init(jax.random.key(seed))
    optimizer_state = optimizer(epochs * batches).init(params)
    state = training.TrainState(params, optimizer_state, jnp.zeros((), jnp.int32))
    step = step_of(network, epochs * batches)
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


# --- all runs


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the missing runs and write the page; return the exit status."""
    options = parse(arguments)
    folders = make_folders(options.out)
    lines = folders.records / "connection_schemes.jsonl"
    if not options.report:
        try:
            carry_out(options, lines)
        except KeyboardInterrupt:
            print("\nInterrupted: the runs that are done are kept; run the same command to continue.", file=sys.stderr)
    found = read_lines(lines)
    runs = [line for line in found if "scheme" in line]
    if not runs:
        raise SystemExit(f"--out: {lines} has no runs yet; run it without --report first.")
    (folders.results / "connection_schemes.md").write_text(page(runs, found[0]["environment"]))
    draw(runs).savefig(folders.figures / "connection_schemes.png")
    print(f"Written to {options.out}: results/connection_schemes.md, figures/connection_schemes.png")
    return 0


def carry_out(options: argparse.Namespace, lines: Path) -> None:
    """Do the runs that the file does not have yet."""
    asked_for = {task.data.name: task for task in tasks(options)}
    epochs = {name: options.epochs * (8 if name == WHICH_MAP else 1) for name in asked_for}
    done = set()
    for line in [line for line in read_lines(lines) if line.get("task") in asked_for]:
        wanted = (len(asked_for[line["task"]].data.train_labels), epochs[line["task"]])
        if (line["trained_on"], line["epochs"]) != wanted:
            raise SystemExit(
                f"--out: {lines} has {line['task']} on {line['trained_on']:,} images in {line['epochs']} epochs,"
                f" now asked for on {wanted[0]:,} in {wanted[1]}; they cannot be compared. Choose another folder."
            )
        done.add((line["scheme"], line["budget"], line["seed"], line["task"]))
    left = [choice for choice in planned(list(asked_for), options.seeds) if choice not in done]
    sources = [task.data.source for task in asked_for.values()]
    print("\n".join([f"{len(left)} runs to do", *sources]), flush=True)
    if left:
        append_line(lines, {"environment": environment(), "data": sources})
    for number, (scheme, budget, seed, task) in enumerate(left, 1):
        result = run(asked_for[task], scheme, budget, seed, epochs[task])
        append_line(lines, result)
        print(
            f"{number}/{len(left)} {task}, {scheme}, equal {budget}, seed {seed}: {result['test_error']:.2f} % "
            f"in {result['cpu_seconds']:.0f} s of CPU",
            flush=True,
        )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--data", type=Path, help="folder with the IDX files of the full MNIST (default: 5,000 digits)")
    parser.add_argument("--fashion", type=Path, help="folder with the IDX files of Fashion-MNIST (default: not used)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each scheme (5; with --quick 2)")
    parser.add_argument("--epochs", type=int, help="epochs on images (1; with --quick 2), and 8 times as many on bars")
    parser.add_argument("--bars", type=int, help="training bars of the synthetic task (500; with --quick 200)")
    parser.add_argument("--out", type=Path, default=Path("results/connection_schemes"), help="folder of the results")
    parser.add_argument("--report", action="store_true", help="run nothing; write the page from the record in --out")
    parser.add_argument("--quick", action="store_true", help="only the synthetic task, two seeds")
    options = parser.parse_args(arguments)
    options.bars = options.bars or (200 if options.quick else 500)
    options.seeds = 2 if options.quick else options.seeds
    options.epochs = options.epochs or (2 if options.quick else 1)
    return options


if __name__ == "__main__":
    sys.exit(main())
