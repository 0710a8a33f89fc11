"""Submodules that are imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

__all__ = ["lazy_submodules"]


def lazy_submodules(package: str, *names: str) -> Callable[[str], ModuleType]:
    """Return a ``__getattr__`` for a package that imports the named submodules on first use."""

    def import_on_first_use(name: str) -> ModuleType:
        if name in names:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return import_on_first_use
