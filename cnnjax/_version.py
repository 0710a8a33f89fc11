"""The version of the package, for those inside it that need to know."""

from __future__ import annotations

__version__ = "0.1.0"
