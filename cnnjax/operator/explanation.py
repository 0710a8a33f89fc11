"""Which method serves a convolution, in each direction, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import AXES, Padding, check_maps
from cnnjax.conv.settings import Connections, ConvSettings
from cnnjax.conv.tables import blocks_for, check_matrix
from cnnjax.operator import ConvSpec, MethodName, Tuned, check_method, choices

__all__ = ["Explanation", "explain", "spec_of_shapes"]


@dataclass(frozen=True, repr=False)
class Explanation:
    """For each direction the method and the reason; for the others whether they would serve. Prints as a table."""

    platform: str
    chosen: dict[str, tuple[str, str]]
    refused: dict[str, str]
    serving: tuple[str, ...]

    def __repr__(self) -> str:
        """One line a direction, then the other methods."""
        lines = [f"on {self.platform}:"]
        lines += [f"  {name.replace('_', ' '):<16}{method:<16}{why}" for name, (method, why) in self.chosen.items()]
        lines.append(f"  would serve too: {', '.join(self.serving)}")
        lines += [f"  does not serve: {name}, because {reason}" for name, reason in self.refused.items()]
        return "\n".join(lines)


def explain(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    connections: Connections = None,
    method: MethodName | Tuned = "auto",
    dtype: DTypeLike = "float32",
    platform: str | None = None,
) -> Explanation:
    """Say which method a convolution is computed by in each direction: forward, input gradient, weight gradient.

    Args:
        x_shape: (N, *size, C_in), with one to three spatial axes.
        w_shape: (*kernel, C_in / groups, C_out).
        stride, padding, dilation, groups, connections, method: as in `conv2d`.
        dtype: the widest dtype of the arrays. What was measured (`cnnjax.tune`) counts for its own dtype only.
        platform: "cpu", "cuda", "rocm" or "tpu"; that of JAX's default backend if None. "cpu" is one device of this
            process; "any cpu" says what an exported program has, or one that is spread over several devices.

    Raises:
        TypeError, ValueError: as `conv2d`, for shapes and settings that do not fit.

    >>> import cnnjax
    >>> explanation = explain((8, 56, 56, 128), (3, 3, 1, 128), padding="SAME", groups=128, platform="any cpu")
    >>> explanation.chosen["forward"][0]
    'depthwise'
    >>> table = cnnjax.connections.one_to_one(128)
    >>> explain((8, 56, 56, 128), (3, 3, 128, 128), connections=table, platform="any cpu").chosen["forward"][0]
    'depthwise'

    Source: the rule and the measurements behind it are in docs/operator.md.
    """
    check_method("explain", method)
    if connections is not None:
        check_matrix("explain", connections, tuple(w_shape), groups)
        blocks = blocks_for(connections, method)
        if blocks is not None:
            groups = len(blocks.inputs)
            w_shape = (*w_shape[:-2], w_shape[-2] // groups, w_shape[-1])
    settings = ConvSettings(stride, padding, dilation, groups)
    spec = spec_of_shapes("explain", x_shape, w_shape, settings, dtype)
    platform = platform or {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    chosen, refused = choices("explain", spec, method, platform)
    used = {name for name, _ in chosen.values()}
    serving = tuple(name for name, reason in refused.items() if reason is None and name not in used)
    return Explanation(platform, chosen, {name: r for name, r in refused.items() if r is not None}, serving)


def spec_of_shapes(
    caller: str, x_shape: Sequence[int], w_shape: Sequence[int], settings: ConvSettings, dtype: DTypeLike
) -> ConvSpec:
    """Return what the operator is told of a convolution of arrays of these shapes.

    Raises TypeError and ValueError, for the function `caller`, if they do not fit.
    """
    for argument, shape in (("x_shape", x_shape), ("w_shape", w_shape)):
        if not isinstance(shape, (tuple, list)) or not all(isinstance(n, int) for n in shape):
            fix = "pass a tuple such as x.shape"
            raise type_error(caller, argument, got=describe(shape), expected="integers", fix=fix)
    if len(w_shape) - 2 not in AXES or len(x_shape) != len(w_shape):
        raise value_error(
            caller,
            "x_shape",
            got=f"{tuple(x_shape)} with a w_shape of {tuple(w_shape)}",
            expected="(N, *size, C_in) and (*kernel, C_in / groups, C_out), with one to three spatial axes",
            fix="give x_shape its batch axis",
        )
    groups = check_maps(caller, x_shape, w_shape, settings.groups)
    geometry = settings.geometry(caller, x_shape[1:-1], w_shape[:-2])
    geometry = geometry if geometry.boundary == "zero" else geometry.after_padding()
    return ConvSpec(geometry, x_shape[0], x_shape[-1], w_shape[-1], groups, dtype=jnp.dtype(dtype))
