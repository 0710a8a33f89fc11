"""The network of "How are kernels applied to feature maps to produce other feature maps?": from 4 maps to 6."""

from __future__ import annotations

from cnnjax.init import LeCunUniform
from cnnjax.layers import Conv2D, Dense, Network, Subsample2D
from cnnjax.models.conventions import LECUN_UNITS, lecun_input

__all__ = ["four_to_six"]


def four_to_six() -> Network:
    """Build the network in the figure of the question: C1 with 4 maps, S1, C2 with 6 maps, S2, and ten scores::

        28x28 -c1-> 4@24x24 -s1-> 4@12x12 -c2-> 6@8x8 -s2-> 6@4x4 -output-> 10

    The question concerns c2. Its six kernels are three-dimensional, 5 x 5 x 4, with 606 parameters; one
    two-dimensional kernel for each output map, replicated over the input maps, would have 156.

    Example:
        >>> four_to_six().layers[2][1].counts((12, 12, 4)).num_parameters
        606

    Source: Cross Validated, question 85767; the paper it is about: LeCun et al. 1998, section II.
    """
    return Network(
        "four to six",
        lecun_input(28, 28),
        (
            ("c1", Conv2D(4, 5, **LECUN_UNITS)),
            ("s1", Subsample2D(2, **LECUN_UNITS)),
            ("c2", Conv2D(6, 5, **LECUN_UNITS)),
            ("s2", Subsample2D(2, **LECUN_UNITS)),
            ("output", Dense(10, weight_init=LeCunUniform(), bias_init=LeCunUniform())),
        ),
    )
