"""Download the missing files of a published data set, each checked against its SHA-256 sum."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from cnnjax._core.messages import error_message
from cnnjax.datasets.extra import import_extra
from cnnjax.datasets.folder import find_all, find_file, not_found
from cnnjax.datasets.published import PublishedDataset, PublishedFile
from cnnjax.errors import DataError

__all__ = ["download"]


def download(dataset: PublishedDataset, folder: Path | None) -> Path:
    """Download those of the four files that are missing; return their folder, by default one in the user's cache."""
    if folder is not None and find_all(dataset, folder):
        return folder
    if folder is not None and folder.exists() and not folder.is_dir():
        raise not_found(dataset, folder, repr(str(folder)))
    pooch = import_extra(dataset.caller, "download", "pooch", got="True", alternative=dataset.alternative)
    folder = Path(pooch.os_cache("cnnjax"), dataset.caller) if folder is None else folder
    for file in dataset.files:
        if not find_file(folder, file):
            _download_file(pooch, dataset, file, folder)
    return folder


def _download_file(pooch: Any, dataset: PublishedDataset, file: PublishedFile, folder: Path) -> None:
    """Download one file from the first mirror that delivers it; pooch moves it into place if its hash is right."""
    name, failures = f"{file.name}.gz", list[str]()
    for mirror in dataset.mirrors:
        try:
            pooch.retrieve(mirror + name, known_hash=f"sha256:{file.sha256}", fname=name, path=folder)
            return
        except (OSError, ValueError) as error:  # the network or the disk; a wrong hash
            failures.append(f"{mirror}{name}: {textwrap.shorten(str(error), 300, placeholder=' ...')}")
    message = error_message(
        dataset.caller,
        "download",
        got=f"True, but {name} could not be fetched into {str(folder)!r} ({'; '.join(failures)})",
        expected=f"a mirror that can be reached and delivers the file with the SHA-256 sum {file.sha256}",
        fix=f"check the network and call again (complete files are kept), or {dataset.alternative}",
    )
    raise DataError(message)
