"""The SHA-256 sums of the files of a checkpoint, written into it and compared before it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

__all__ = ["CHECKSUMS", "compute_checksums", "find_damage", "write_checksums"]

CHECKSUMS = "checksums.json"


def write_checksums(checkpoint: Path, items: Sequence[str]) -> None:
    """Write the sums of all files of the items of a checkpoint into it."""
    (checkpoint / CHECKSUMS).write_text(json.dumps(compute_checksums(checkpoint, items), indent=1))


def find_damage(checkpoint: Path, items: Sequence[str]) -> str | None:
    """Return what is wrong with the files of a checkpoint, or None."""
    try:
        expected = json.loads((checkpoint / CHECKSUMS).read_text())
        found = compute_checksums(checkpoint, items)
    except (OSError, ValueError) as error:
        return f"{CHECKSUMS} cannot be read ({type(error).__name__})"
    for item in items:
        if not any(name.startswith(f"{item}/") for name in expected):
            return f"{item} was not written"
    for name, checksum in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != checksum:
            return f"{name} is not what was written"
    return None


def compute_checksums(checkpoint: Path, items: Sequence[str]) -> dict[str, str]:
    """Return the sum of each file of the items; other files that Orbax writes contain nothing of the run."""
    files = (file for item in items for file in (checkpoint / item).rglob("*") if file.is_file())
    return {file.relative_to(checkpoint).as_posix(): _checksum(file) for file in sorted(files)}


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
