"""Training: the optax loop, checkpoints, and everything else about a run.

The loop itself is here (`fit`, `make_step`, `error_rate`); the rest are modules, each imported with the package.
"""

from cnnjax.training import checkpoints, distortions, history, levenberg_marquardt, meshes, online, precision
from cnnjax.training.checkpoints import Checkpoints
from cnnjax.training.loop import (
    Augment,
    Epoch,
    TrainState,
    default_loss,
    error_rate,
    fit,
    make_step,
    random_shift,
    sample_order,
    softmax_cross_entropy,
)

__all__ = [
    "Augment",
    "Checkpoints",
    "Epoch",
    "TrainState",
    "checkpoints",
    "default_loss",
    "distortions",
    "error_rate",
    "fit",
    "history",
    "levenberg_marquardt",
    "make_step",
    "meshes",
    "online",
    "precision",
    "random_shift",
    "sample_order",
    "softmax_cross_entropy",
]
