"""The methods by name, one module each, with its formula, its cost, the convolutions it serves, and its source."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cnnjax.operator.method import Method
from cnnjax.operator.methods import (
    block_diagonal,
    definition,
    depthwise,
    fft,
    gathered,
    grouped,
    im2col,
    matmul,
    onednn,
    shift,
    space_to_depth,
    sparse,
    toeplitz,
    winograd,
    xla,
)
from cnnjax.operator.spec import MethodName

__all__ = ["BY_NAME"]

BY_NAME: Mapping[MethodName, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            definition.METHOD,
            xla.METHOD,
            shift.METHOD,
            im2col.METHOD,
            gathered.METHOD,
            toeplitz.METHOD,
            matmul.METHOD,
            depthwise.METHOD,
            grouped.METHOD,
            block_diagonal.METHOD,
            space_to_depth.METHOD,
            onednn.METHOD,
            *winograd.METHODS,
            fft.METHOD,
            sparse.METHOD,
        )
    }
)
