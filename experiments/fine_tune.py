"""How well does a published network, from given weights, classify a folder of images of one's own?

Expected: a folder with a subfolder for each class becomes training and test images; the network starts from the
weights, with a new last layer for these classes, and is trained until the test error has not fallen for some epochs.
The best parameters are written as a file that PyTorch reads too. An interrupted run resumes. fine_tune_digits.py
measures what given weights are worth. Run time for ResNet-18 on two cores: about ten images per second at 224 x 224.

    python experiments/fine_tune.py --data folder/with/a/subfolder/for/each/class --weights resnet18.safetensors
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import report
from command_line import positive
from record import configuration, environment, make_folder, save_json, without_folders

import cnnjax
from cnnjax import figures, interop, training
from cnnjax.datasets import ImageData
from cnnjax.layers import Params
from cnnjax.training.checkpoints import Checkpoints

QUESTION = (__doc__ or "").partition("\n")[0]
NETWORKS: dict[str, Callable[..., cnnjax.Network]] = {
    name: getattr(cnnjax.models, name)
    for name in cnnjax.models.__all__
    if callable(getattr(cnnjax.models, name))
    and {"classes", "size"} <= set(inspect.signature(getattr(cnnjax.models, name)).parameters)
}


@dataclass(frozen=True)
class Tuned:
    """A finished run.

    Attributes:
        history: one entry for each epoch: loss and errors in percent.
        best: the entry with the lowest test error.
        params: the parameters at its end.
    """

    history: list[dict[str, Any]]
    best: dict[str, Any]
    params: dict[str, Params]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fine-tune, and write history, weights, record and report; return the exit status."""
    options = parse(arguments)
    make_folder(options.out)
    checkpoints = options.out / "checkpoints"
    if not options.resume and checkpoints.exists():
        raise SystemExit(f"--out: {options.out} holds a run; go on with it by --resume, or name another folder.")
    try:
        data = cnnjax.datasets.image_folder(options.data, options.size, seed=options.seed)
        network = NETWORKS[options.network](classes=len(data.class_names), size=options.size)
        params, start = initial(options.network, options.size, network, options.weights, options.seed)
        print(f"{data.source} Classes: {', '.join(data.class_names)}.\n{network.name}, {start}.\n")
        tuned = tune(network, params, data, options, Checkpoints(checkpoints))
    except KeyboardInterrupt:
        return 130
    except (cnnjax.CnnjaxError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    write(options, network, data, start, tuned)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--data", type=Path, required=True, help="folder of images with a subfolder for each class")
    parser.add_argument("--network", choices=sorted(NETWORKS), default="resnet18", help="architecture (resnet18)")
    parser.add_argument(
        "--weights", type=Path, help="its weights: .safetensors, or .pt and .pth of PyTorch (random weights)"
    )
    parser.add_argument("--size", type=positive, default=224, help="height and width of the images (224)")
    parser.add_argument("--epochs", type=positive, default=30, help="most passes over the training images (30)")
    parser.add_argument("--patience", type=positive, default=5, help="stop after so many epochs without progress (5)")
    parser.add_argument("--batch-size", type=positive, default=32, help="images in a step (32)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of Adam (0.001)")
    parser.add_argument("--head-only", action="store_true", help="train the last layer only")
    parser.add_argument("--no-flip", action="store_true", help="do not mirror training images at random")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split, the new layer, order and mirroring (0)")
    parser.add_argument("--out", type=Path, default=Path("results/fine_tune"), help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="resume the run in --out; start it if there is none")
    return parser.parse_args(arguments)


# --- weights


def initial(
    name: str, size: int, network: cnnjax.Network, weights: Path | None, seed: int
) -> tuple[dict[str, Params], str]:
    """The parameters to start from, and where they are from; layers for another number of classes are drawn anew."""
    fresh = network.init(jax.random.key(seed))
    if weights is None:
        return fresh, "from random weights"
    state = read_state(weights)
    last = [key for key in state if key.endswith(".weight")][-1]
    given = interop.from_torch(NETWORKS[name](classes=int(state[last].shape[0]), size=size), state)
    params, drawn = adapted(fresh, given)
    new = f", {' and '.join(drawn)} drawn anew" if drawn else ""
    return params, f"from {weights.name}{new}"


def adapted(fresh: Mapping[str, Params], given: Mapping[str, Params]) -> tuple[dict[str, Params], list[str]]:
    """The given parameters, with those of `fresh` in the layers whose shapes differ; the names of these layers."""
    shapes = jax.tree.map(jnp.shape, (dict(fresh), dict(given)))
    drawn = [name for name in fresh if shapes[0][name] != shapes[1][name]]
    return {name: dict(fresh[name] if name in drawn else given[name]) for name in fresh}, drawn


def read_state(path: Path) -> Mapping[str, Any]:
    """The arrays of a file by their names in PyTorch. Files of PyTorch are read as plain tensors: no code is run."""
    if path.suffix == ".safetensors":
        return importlib.import_module("safetensors.numpy").load_file(str(path))
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError as error:
        raise SystemExit(
            f"--weights: {path.name} is a file of PyTorch; install torch, or pass .safetensors."
        ) from error
    return torch.load(path, weights_only=True, map_location="cpu")


# --- training


def tune(
    network: cnnjax.Network,
    params: Mapping[str, Params],
    data: ImageData,
    options: Any,
    checkpoints: Checkpoints | None,
) -> Tuned:
    """Train from `params` until the test error has not fallen for `patience` epochs."""
    history: list[dict[str, Any]] = []
    best: tuple[dict[str, Any], dict[str, Params]] | None = None
    for epoch in training.fit(
        network,
        data.train_images,
        data.train_labels,
        params=params,
        optimizer=optimizer_for(network, params, options),
        epochs=options.epochs,
        batch_size=min(options.batch_size, len(data.train_labels)),
        seed=options.seed,
        augment=None if options.no_flip else flip,
        checkpoints=checkpoints,
    ):
        error = training.error_rate(network, epoch.state.params, data.test_images, data.test_labels)
        entry = {"epoch": epoch.number, "loss": epoch.loss, "train_error": epoch.error, "test_error": error}
        history.append(entry)
        if best is None or error < best[0]["test_error"]:
            best = entry, jax.device_get(epoch.state.params)
        print(
            f"epoch {epoch.number:>3}/{options.epochs}  loss {epoch.loss:7.4f}  errors: training {epoch.error:6.2f} %, "
            f"test {error:6.2f} %  {epoch.images_per_second:>6,.0f} images/s",
            flush=True,
        )
        if epoch.number - best[0]["epoch"] >= options.patience:
            print(f"Stopped: no progress for {options.patience} epochs.")
            break
    assert best is not None  # there is at least one epoch
    return Tuned(history, *best)


def optimizer_for(network: cnnjax.Network, params: Mapping[str, Params], options: Any) -> optax.GradientTransformation:
    """Adam, for all parameters or for those of the last layer."""
    if not options.head_only:
        return optax.adam(options.learning_rate)
    head = network.layers[-1][0]
    labels = {name: dict.fromkeys(own, "head" if name == head else "kept") for name, own in params.items()}
    return optax.multi_transform({"head": optax.adam(options.learning_rate), "kept": optax.set_to_zero()}, labels)


def flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Mirror half of the images, drawn at random."""
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


# --- results


def write(options: argparse.Namespace, network: cnnjax.Network, data: ImageData, start: str, tuned: Tuned) -> None:
    """Write the best parameters, the record and the report."""
    arrays = interop.to_torch(network, tuned.params)
    importlib.import_module("safetensors.numpy").save_file(arrays, options.out / "best.safetensors")
    scores = np.concatenate(
        [
            np.asarray(network.apply(tuned.params, network.input.prepare(data.test_images[i : i + 32])))
            for i in range(0, len(data.test_labels), 32)
        ]
    )
    wrong_by_class = {
        name: f"{(scores.argmax(axis=1) != i)[data.test_labels == i].sum()} of {(data.test_labels == i).sum()} wrong"
        for i, name in enumerate(data.class_names)
    }
    record: dict[str, Any] = {
        "question": QUESTION,
        "environment": environment(),
        "config": configuration(options, "resume"),
        "data": without_folders(data.source),
        "start": start,
        "best": tuned.best,
        "history": tuned.history,
        "test": wrong_by_class,
    }
    save_json(options.out / "results.json", record)
    facts = {
        "Lowest test error": f"{tuned.best['test_error']:.2f} %, after epoch {tuned.best['epoch']}",
        "Start": start,
        "Data": record["data"],
        **{f"Test images of {name}": wrong for name, wrong in wrong_by_class.items()},
        "Settings": ", ".join(f"{name} {value}" for name, value in record["config"].items() if value is not None),
        "Versions": ", ".join(f"{name} {value}" for name, value in record["environment"]["versions"].items()),
    }
    pictures = {
        "Learning curve": figures.learning_curve(tuned.history, f"{network.name}, {start}"),
        "Hardest test images": figures.hard_cases(
            network, tuned.params, data.test_images, data.test_labels, data.class_names
        ),
    }
    report.write(options.out / "report.html", f"{network.name}, fine-tuned", QUESTION, facts, pictures)
    print(
        f"\nLowest test error {tuned.best['test_error']:.2f} %, after epoch {tuned.best['epoch']}.\n"
        f"Written to {options.out}: best.safetensors, report.html, results.json, checkpoints"
    )


if __name__ == "__main__":
    sys.exit(main())
