"""The methods, by name. Each is one file: its formula, its cost, what it serves, its source."""

from __future__ import annotations

from types import MappingProxyType

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

__all__ = ["BY_NAME"]

BY_NAME = MappingProxyType(
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
