"""cnnjax: write, verify and run convolutional networks in JAX with nothing hidden.

A convolution is a table that says which input map feeds which output map, and an explicit weight array
(k, k, C_in, C_out). Everything else is a way to compute it fast, and a proof that its gradient is right.
"""

from cnnjax import anatomy, connections, datasets, init, layers, losses, models, reference
from cnnjax._errors import CnnjaxError, GradientError
from cnnjax._version import __version__ as __version__
from cnnjax.activations import ACTIVATIONS, scaled_tanh
from cnnjax.connections import ConnectionTable
from cnnjax.conv import (
    conv1d,
    conv2d,
    conv2d_transpose,
    conv3d,
    depthwise_conv2d,
    local_conv2d,
    separable_conv2d,
)
from cnnjax.explain import explain
from cnnjax.gradients import GradientReport, check_grads
from cnnjax.layers import Input, Network
from cnnjax.operator import METHODS, Tuned
from cnnjax.pooling import avg_pool2d, lp_pool2d, max_pool2d, subsample2d
from cnnjax.summary import summary
from cnnjax.tuning import tune, tuned

__all__ = [
    "ACTIVATIONS",
    "METHODS",
    "CnnjaxError",
    "ConnectionTable",
    "GradientError",
    "GradientReport",
    "Input",
    "Network",
    "Tuned",
    "anatomy",
    "avg_pool2d",
    "check_grads",
    "connections",
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "datasets",
    "depthwise_conv2d",
    "explain",
    "init",
    "layers",
    "local_conv2d",
    "losses",
    "lp_pool2d",
    "max_pool2d",
    "models",
    "reference",
    "scaled_tanh",
    "separable_conv2d",
    "subsample2d",
    "summary",
    "tune",
    "tuned",
]
