"""The version of the package, for the modules that record it."""

from __future__ import annotations

__version__ = "0.1.0"
