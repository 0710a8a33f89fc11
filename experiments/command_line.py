"""Shared by the command lines of the experiments: argument types, and loading the digits that --data names."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cnnjax
from cnnjax.datasets import ImageData


def positive(text: str) -> int:
    """A positive integer, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def read_digits(folder: Path | None, *, download: bool = False) -> ImageData:
    """MNIST from a folder, or the small data set; a script that cannot read it ends with the reason."""
    try:
        return cnnjax.datasets.mnist(folder, download=download)
    except (cnnjax.CnnjaxError, OSError) as error:
        raise SystemExit(f"{error}") from error


def first_digits(data: ImageData, train: int, test: int) -> ImageData:
    """At most the first `train` training and `test` test images."""
    return replace(
        data,
        train_images=data.train_images[:train],
        train_labels=data.train_labels[:train],
        test_images=data.test_images[:test],
        test_labels=data.test_labels[:test],
        source=f"{data.source} Quick: at most the first {train:,} and {test:,} of them.",
    )
