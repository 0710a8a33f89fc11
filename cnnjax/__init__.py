"""Write, verify and train convolutional networks in JAX.

A convolution is an explicit weight array (k, k, C_in, C_out) and, if not every map is connected to every other, a table
that says which input map feeds which output map. The rest of the library computes it fast, verifies its gradient, and
trains networks built from it.
"""

import importlib
from typing import Any

from cnnjax._version import __version__ as __version__

# Names are imported on first use: importing conv2d does not import the gradient checker or optax. `__init__.pyi` says
# the same to type checkers, and a test keeps the two equal.
_MODULES = (
    "activations",
    "check",
    "connections",
    "conv",
    "datasets",
    "drop_in",
    "errors",
    "exploring",
    "figures",
    "gradients",
    "init",
    "interop",
    "layers",
    "losses",
    "models",
    "operator",
    "pooling",
    "programs",
    "reference",
    "training",
)
_HOMES = {
    "activations": ("ACTIVATIONS", "scaled_tanh"),
    "connections": ("ConnectionTable",),
    "conv": (
        "conv1d",
        "conv1d_transpose",
        "conv2d",
        "conv2d_transpose",
        "conv3d",
        "conv3d_transpose",
        "depthwise_conv2d",
        "local_conv2d",
        "separable_conv2d",
    ),
    "errors": ("CnnjaxError", "GradientError"),
    "exploring": ("explore",),
    "gradients": ("GradientReport", "check_grads"),
    "layers": ("Input", "Network"),
    "operator": ("METHODS", "Tuned"),
    "operator.explanation": ("explain",),
    "operator.tuning": ("tune", "tuned"),
    "programs.summary": ("summary",),
    "pooling": (
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "lp_pool1d",
        "lp_pool2d",
        "lp_pool3d",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "subsample2d",
    ),
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
