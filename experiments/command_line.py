"""What the command lines of the scripts share: whole numbers, and the digits that --data names."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cnnjax
from cnnjax.datasets import ImageData


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def read_digits(folder: Path | None, *, download: bool = False) -> ImageData:
    """MNIST from a folder, or the small data set; where it cannot be had, the script ends with the reason."""
    try:
        return cnnjax.datasets.mnist(folder, download=download)
    except (cnnjax.CnnjaxError, OSError) as error:
        raise SystemExit(f"{error}") from error


def first_digits(data: ImageData, train: int, test: int) -> ImageData:
    """At most the first so many images to train and to test on."""
    return replace(
        data,
        train_images=data.train_images[:train],
        train_labels=data.train_labels[:train],
        test_images=data.test_images[:test],
        test_labels=data.test_labels[:test],
        source=f"{data.source} Quick: at most the first {train:,} and {test:,} of them.",
    )
