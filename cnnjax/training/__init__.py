"""Training with optax: the loop, checkpoints and resuming, several devices, mixed precision, augmentation.

The loop and its parts are here (`fit`, `make_step`, `error_rate`); the rest is in submodules.
"""

from cnnjax.training import checkpoints, distortions, history, levenberg_marquardt, meshes, online, precision
from cnnjax.training.checkpoints import Checkpoints
from cnnjax.training.distortions import random_shift
from cnnjax.training.loop import Epoch, error_rate, fit, sample_order
from cnnjax.training.step import Augment, TrainState, default_loss, make_step, softmax_cross_entropy

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
