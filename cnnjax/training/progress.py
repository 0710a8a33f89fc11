"""The progress bar of a run."""

from __future__ import annotations

import sys
from typing import Any

import jax

__all__ = ["ProgressBar"]


class ProgressBar:
    """A progress bar over the images of a run; invisible without a terminal or tqdm, and in processes other than 0."""

    def __init__(self, images: int, done: int) -> None:
        self._bar: Any = None
        if not sys.stderr.isatty() or jax.process_index():
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=images, initial=done, unit=" images", unit_scale=True, leave=False)

    def __enter__(self) -> ProgressBar:
        """Return the bar."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        if self._bar:
            self._bar.close()

    def set_title(self, text: str) -> None:
        """Show a text before the bar."""
        if self._bar:
            self._bar.set_description(text)

    def advance(self, images: int) -> None:
        """Add to the number of images done."""
        if self._bar:
            self._bar.update(images)

    def show_loss(self, value: float) -> None:
        """Show a loss after the bar."""
        if self._bar:
            self._bar.set_postfix(loss=f"{value:.4f}", refresh=False)

    def hide(self) -> None:
        """Clear the bar for other output; it is drawn again when it advances."""
        if self._bar:
            self._bar.clear()
