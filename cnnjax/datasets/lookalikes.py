"""Data sets that others distribute under MNIST's file names, or that are often renamed to them: KMNIST and EMNIST."""

from __future__ import annotations

__all__ = ["find_by_count", "find_by_sum"]

_KMNIST = (
    ("bdb82020997e1d708af4cf47b453dcf7", "train-images-idx3-ubyte.gz"),
    ("e144d726b3acfaa3e44228e80efcd344", "train-labels-idx1-ubyte.gz"),
    ("5c965bf0a639b31b8f53240b1b52f4d7", "t10k-images-idx3-ubyte.gz"),
    ("7320c461ea6c1c855c0b718fb2a4b134", "t10k-labels-idx1-ubyte.gz"),
)

# For each split: the md5 sums of its training images, training labels, test images and test labels.
_EMNIST = {
    "mnist": (
        "3663598a39195d030895b6304abb5065",
        "6c092f03c9bb63e678f80f8bc605fe37",
        "fb51b6430fc4dd67deaada1bf25d4524",
        "ae7f6be798a9a5d5f2bd32e078a402dd",
    ),
    "digits": (
        "d2662ecdc47895a6bbfce25de9e9a677",
        "2223fcfee618ac9c89ef20b6e48bcf9e",
        "a159b8b3bd6ab4ed4793c1cb71a2f5cc",
        "8afde66ea51d865689083ba6bb779fac",
    ),
    "letters": (
        "8795078f199c478165fe18db82625747",
        "c16de4f1848ddcdddd39ab65d2a7be52",
        "382093a19703f68edac6d01b8dfdfcad",
        "d4108920cd86601ec7689a97f2de7f59",
    ),
    "balanced": (
        "4041b0d6f15785d3fa35263901b5496b",
        "7a35cc7b2b7ee7671eddf028570fbd20",
        "6818d20fe2ce1880476f747bbc80b22b",
        "acd3694070dcbf620e36670519d4b32f",
    ),
    "bymerge": (
        "4a792d4df261d7e1ba27979573bf53f3",
        "491be69ef99e1ab1f5b7f9ccc908bb26",
        "8eb5d34c91f1759a55831c37ec2a283f",
        "c13f4cd5211cdba1b8fa992dae2be992",
    ),
    "byclass": (
        "712dda0bd6f00690f32236ae4325c377",
        "ee299a3ee5faf5c31e9406763eae7e43",
        "1435209e34070a9002867a9ab50160d7",
        "7a0f934bd176c798ecba96b36fda6657",
    ),
}
_EMNIST_FILES = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")

# The published md5 sums are those of the .gz files; torchvision checks the same for KMNIST, Deeplearning4j for EMNIST.
_BY_SUM = {md5: f"KMNIST's {name}" for md5, name in _KMNIST} | {
    md5: f"EMNIST's emnist-{split}-{file}-ubyte.gz"
    for split, sums in _EMNIST.items()
    for md5, file in zip(sums, _EMNIST_FILES, strict=True)
}

_BY_COUNT = {
    240_000: "the training set of EMNIST Digits",
    40_000: "the test set of EMNIST Digits",
    124_800: "the training set of EMNIST Letters",
    20_800: "the test set of EMNIST Letters",
    112_800: "the training set of EMNIST Balanced",
    18_800: "the test set of EMNIST Balanced",
    697_932: "the training set of EMNIST ByClass or ByMerge",
    116_323: "the test set of EMNIST ByClass or ByMerge",
}


def find_by_sum(md5: str | None) -> str | None:
    """Return which file of KMNIST or EMNIST has this md5 sum of its .gz file, or None."""
    return _BY_SUM.get(md5) if md5 else None


def find_by_count(count: int) -> str | None:
    """Return which set of EMNIST has so many images, which MNIST and Fashion-MNIST have not, or None."""
    return _BY_COUNT.get(count)
