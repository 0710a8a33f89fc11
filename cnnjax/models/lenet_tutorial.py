"""The LeNet of the deeplearning.net tutorial: full connection, max-pooling, softmax; 431,080 parameters."""

from __future__ import annotations

from cnnjax.init import Constant, GlorotUniform
from cnnjax.layers import Conv2D, Dense, Input, MaxPool2D, Network

__all__ = ["lenet_tutorial"]


def lenet_tutorial() -> Network:
    """Build the tutorial's network: two convolutions with max-pooling, a hidden layer of 500, ten logits::

        28x28 -c1-> 20@24x24 -s2-> 20@12x12 -c3-> 50@8x8 -s4-> 50@4x4 -hidden-> 500 -output-> 10

    It is not LeNet-5: every map of c3 reads every map of s2, pooling takes the maximum and has no parameters, and the
    output is a softmax regression. The tutorial adds the bias after the pool; adding it before, as here, is the same
    function, because a maximum commutes with the addition of a constant.

    Example:
        >>> import cnnjax
        >>> cnnjax.summary(lenet_tutorial()).num_parameters
        431080

    Source: LISA lab, "Deep Learning Tutorials", chapter "Convolutional Neural Networks (LeNet)", code
    convolutional_mlp.py.
    """
    return Network(
        "tutorial LeNet",
        Input((28, 28, 1)),
        (
            ("c1", Conv2D(20, 5, weight_init=GlorotUniform(pool_area=4))),
            ("s2", MaxPool2D(2, activation="tanh")),
            ("c3", Conv2D(50, 5, weight_init=GlorotUniform(pool_area=4))),
            ("s4", MaxPool2D(2, activation="tanh")),
            ("hidden", Dense(500, activation="tanh", weight_init=GlorotUniform())),
            ("output", Dense(10, weight_init=Constant(0.0))),
        ),
    )
