"""Packages that only the extra ``experiments`` installs."""

from __future__ import annotations

import importlib
from typing import Any

from cnnjax._core.messages import error_message
from cnnjax.errors import MissingExtraError

__all__ = ["import_extra"]


def import_extra(caller: str, argument: str, module: str, *, got: str, alternative: str) -> Any:
    """Import a module that the extra ``experiments`` installs, or raise MissingExtraError with another way."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        message = error_message(
            caller,
            argument,
            got=f"{got}, which needs the package {package}, and that cannot be imported ({error})",
            expected=f"{package} to be installed",
            fix=f"pip install 'cnnjax[experiments]', or {alternative}",
        )
        raise MissingExtraError(message) from error
