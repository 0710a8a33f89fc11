"""The network of the question "how are kernels applied to feature maps to produce other feature maps?": 4 maps to 6."""

from __future__ import annotations

from cnnjax.init import LeCunUniform
from cnnjax.layers import Conv2D, Dense, Input, Network, Subsample2D

__all__ = ["four_to_six"]


def four_to_six() -> Network:
    """Build the network in the figure of the question: C1 with 4 maps, S1, C2 with 6 maps, S2, and ten scores.

        28x28 -c1-> 4@24x24 -s1-> 4@12x12 -c2-> 6@8x8 -s2-> 6@4x4 -output-> 10

    c2 is the step that is asked about. Its six kernels are three-dimensional, 5 x 5 x 4: 606 parameters, where one
    two-dimensional kernel for each map, replicated over the input maps, would have 156.

    >>> four_to_six().layers[2][1].counts((12, 12, 4)).num_parameters
    606

    Source: Cross Validated, question 85767; the paper it is about: LeCun et al. 1998, section II.
    """
    squashed = {"activation": "scaled_tanh", "weight_init": LeCunUniform(), "bias_init": LeCunUniform()}
    return Network(
        "four to six",
        Input((28, 28, 1), background=-0.1, foreground=1.175),
        (
            ("c1", Conv2D(4, 5, **squashed)),
            ("s1", Subsample2D(2, **squashed)),
            ("c2", Conv2D(6, 5, **squashed)),
            ("s2", Subsample2D(2, **squashed)),
            ("output", Dense(10, weight_init=LeCunUniform(), bias_init=LeCunUniform())),
        ),
    )
