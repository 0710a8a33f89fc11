"""Parts that several architectures are made of."""

from __future__ import annotations

from cnnjax.init import HeNormal
from cnnjax.layers import BatchNorm, Conv2D
from cnnjax.layers.base import Activation
from cnnjax.layers.network import Entry

__all__ = ["conv_norm"]


def conv_norm(
    names: tuple[str, str],
    maps: int,
    kernel: int | tuple[int, int],
    *,
    read: str | None = None,
    stride: int = 1,
    groups: int = 1,
    activation: Activation = "relu",
    eps: float = 1e-5,
) -> list[Entry]:
    """Return a convolution without biases and the batch normalisation after it; padding keeps the size at stride 1.

    Args:
        names: of the two layers.
        maps, kernel, stride, groups: of the convolution.
        read: the volume that it reads; the one before it if None.
        activation, eps: of the normalisation.
    """
    sizes = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = tuple((k // 2, k // 2) for k in sizes)
    convolution = Conv2D(maps, sizes, stride=stride, padding=padding, groups=groups, bias=False, weight_init=HeNormal())
    first: Entry = (names[0], convolution) if read is None else (names[0], convolution, read)
    return [first, (names[1], BatchNorm(eps=eps, activation=activation))]
