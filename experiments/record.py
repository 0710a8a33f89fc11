"""How the experiments save results: numbers with versions, device and command, in files written atomically."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax


@dataclass(frozen=True)
class Folders:
    """The folders under --out, laid out like docs/: run records, the pages written from them, and their figures."""

    records: Path
    results: Path
    figures: Path


def environment() -> dict[str, Any]:
    """The command, versions and device of this run."""
    packages = ("cnnjax", "jax", "jaxlib", "numpy", "optax")
    return {
        "command": without_folders(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
        "device": str(jax.devices()[0].device_kind),
        "platform": jax.default_backend(),
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def without_folders(text: str) -> str:
    """The text with absolute paths cut to their last part, so that records do not expose the layout of a machine."""
    return " ".join(Path(word).name if Path(word).is_absolute() else word for word in text.split(" "))


def configuration(options: argparse.Namespace, *without: str) -> dict[str, Any]:
    """The command-line options, except those named, as stored in a record; of an absolute path only the last part."""
    return {
        name: (value.name if value.is_absolute() else str(value)) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name not in without
    }


def make_folder(path: Path) -> None:
    """Make the folder for the results; called before any work is done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SystemExit(f"--out: {path} is not a folder; name one, or a path where one can be made.") from error


def make_folders(out: Path) -> Folders:
    """Make `out`/records, `out`/results and `out`/figures."""
    make_folder(out)
    folders = Folders(out / "records", out / "results", out / "figures")
    for folder in vars(folders).values():
        make_folder(folder)
    return folders


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content, indent=1) + "\n")
    unfinished.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; if it does not exist, the script ends with a message."""
    if not path.exists():
        raise SystemExit(f"--out: there is no {path} yet.")
    return json.loads(path.read_text())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON Lines of a file, without a line that was only partly written."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            print(f"{path}: left out a line that is not whole", file=sys.stderr)
    return lines


def append_line(path: Path, content: dict[str, Any]) -> None:
    """Append a line; if the last line was only partly written, start a new one."""
    whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a") as file:
        file.write(("" if whole else "\n") + json.dumps(content) + "\n")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"
