"""LeNet-5 as published in 1998: 60,000 trainable parameters, 340,908 connections."""

from __future__ import annotations

import numpy as np

from cnnjax.connections import LENET5_C3
from cnnjax.layers import RBF, Conv2D, Dense, Network, Subsample2D
from cnnjax.models.conventions import LECUN_UNITS, lecun_input

__all__ = ["DIGIT_CODES", "lenet5"]

# Figure 3 of the paper: twelve rows of seven pixels for each digit, two hexadecimal digits for a row, the leftmost
# pixel in the highest of seven bits. The bar over 0, 2, 4 and 5 is in the figure.
_BITMAP_ROWS = (
    "3e001c3663636363361c0000",
    "0c1c3c0c0c0c0c0c0c3f0000",
    "3e003e6343061c30607f0000",
    "7f03060c1e030303633e0000",
    "3e00003333736363673f0303",
    "3e007f60603c1e03633e0000",
    "1e3060607e736363733e0000",
    "7f0303060c0c181818180000",
    "3e6363633e636363633e0000",
    "3e676363673f0303063c0000",
)

DIGIT_CODES: np.ndarray = np.array(
    [
        [1 if row >> (6 - column) & 1 else -1 for row in bytes.fromhex(rows) for column in range(7)]
        for rows in _BITMAP_ROWS
    ]
)
"""The codes of the ten digits, (10, 84) of +1 (ink) and -1: 7 x 12 bitmaps, row by row from the top left."""
DIGIT_CODES.setflags(write=False)


def lenet5(trainable_codes: bool = False) -> Network:
    """Build the LeNet-5 of 1998: C1, S2, C3 with the connections of Table I, S4, C5, F6, and ten RBF units::

        32x32 -C1-> 6@28x28 -S2-> 6@14x14 -C3-> 16@10x10 -S4-> 16@5x5 -C5-> 120@1x1 -F6-> 84 -output-> 10

    The activation of every unit up to F6 is 1.7159 tanh(2/3 a). The output is the squared distance of F6 to the bitmap
    of each digit; the smallest names the class. Pixels are -0.1 for the background and 1.175 for ink. Weights and
    biases start uniform in +-2.4 / fan-in (a bias is the weight of a constant input, not counted in the fan-in).

    Where the paper contradicts itself, sub-sampling units sum their window (section II.B) instead of averaging it
    (II.A), and C3 has 151,600 connections, which is consistent with the total of 340,908.

    Args:
        trainable_codes: whether the 840 numbers of the codes of the output units are trained too (60,840 parameters);
            the paper keeps them fixed, "at least initially".

    Example:
        >>> network = lenet5()
        >>> network.shapes()["c3"]
        (10, 10, 16)

    Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86(11), section II.B and appendix A.
    """
    return Network(
        "LeNet-5",
        lecun_input(32, 32),
        (
            ("c1", Conv2D(6, 5, **LECUN_UNITS)),
            ("s2", Subsample2D(2, **LECUN_UNITS)),
            ("c3", Conv2D(16, 5, connections=LENET5_C3, **LECUN_UNITS)),
            ("s4", Subsample2D(2, **LECUN_UNITS)),
            ("c5", Conv2D(120, 5, **LECUN_UNITS)),
            ("f6", Dense(84, **LECUN_UNITS)),
            ("output", RBF(tuple(map(tuple, DIGIT_CODES.tolist())), trainable=trainable_codes)),
        ),
    )
