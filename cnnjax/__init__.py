"""cnnjax: write, verify and run convolutional networks in JAX with nothing hidden.

A convolution is a table that says which input map feeds which output map, and an explicit weight array
(k, k, C_in, C_out). Everything else is a way to compute it fast, and a proof that its gradient is right.
"""

import importlib
from typing import Any

from cnnjax._version import __version__ as __version__

# A name is imported when it is first used: who convolves does not wait for what verifies gradients.
# `__init__.pyi` says the same to type checkers.
_MODULES = ("anatomy", "connections", "datasets", "init", "layers", "losses", "models", "reference")
_HOMES = {
    "_errors": ("CnnjaxError", "GradientError"),
    "_explain": ("explain",),
    "_summary": ("summary",),
    "activations": ("ACTIVATIONS", "scaled_tanh"),
    "connections": ("ConnectionTable",),
    "conv": (
        "conv1d",
        "conv2d",
        "conv2d_transpose",
        "conv3d",
        "depthwise_conv2d",
        "local_conv2d",
        "separable_conv2d",
    ),
    "gradients": ("GradientReport", "check_grads"),
    "layers": ("Input", "Network"),
    "operator": ("METHODS", "Tuned"),
    "pooling": ("avg_pool2d", "lp_pool2d", "max_pool2d", "subsample2d"),
    "tuning": ("tune", "tuned"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*_MODULES, *_HOME_OF]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"cnnjax.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'cnnjax' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"cnnjax.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
