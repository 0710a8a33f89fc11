"""Which method computes a convolution in each direction, and why: `cnnjax.explain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jax.typing import DTypeLike

from cnnjax._core.shapes import Padding
from cnnjax.conv.settings import Connections, ConvSettings
from cnnjax.conv.tables import blocks_for, check_matrix
from cnnjax.operator import MethodName, Tuned, check_method, choices
from cnnjax.operator.choice import Choice, default_platform
from cnnjax.operator.spec import Direction, Platform

__all__ = ["Choice", "Explanation", "explain"]


@dataclass(frozen=True, repr=False)
class Explanation:
    """The method chosen for each direction and why, and the methods that were not chosen. Prints as a table.

    Attributes:
        platform: the platform that is explained.
        chosen: for each direction ("forward", "input_gradient", "weight_gradient") the pair (method, reason).
        refused: the methods that do not serve the convolution, each with the reason.
        serving: the methods that would also serve it but were not chosen.
    """

    platform: Platform
    chosen: dict[Direction, Choice]
    refused: dict[MethodName, str]
    serving: tuple[MethodName, ...]

    def __repr__(self) -> str:
        """One line for each direction, then the other methods."""
        lines = [f"on {self.platform}:"]
        lines += [
            f"  {direction.replace('_', ' '):<16}{method:<16}{reason}"
            for direction, (method, reason) in self.chosen.items()
        ]
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
    platform: Platform | None = None,
) -> Explanation:
    """Explain which method computes a convolution in each direction: forward, input gradient and weight gradient.

    Only shapes are needed; nothing is computed or compiled.

    Args:
        x_shape: (N, *size, C_in), with one to three spatial axes.
        w_shape: (*kernel, C_in / groups, C_out).
        stride, padding, dilation, groups, connections, method: as in `conv2d`.
        dtype: the widest dtype of the arrays. Measurements (`cnnjax.tune`) apply to their own dtype only.
        platform: "cpu", "cuda", "rocm" or "tpu"; by default that of JAX's default backend. "cpu" is one device of this
            process, "stored cpu" the same in a program that JAX may write to disk, "any cpu" an exported program, or
            one partitioned over several devices.

    Returns:
        An `Explanation`, which prints as a table; its field `chosen` maps each direction to (method, reason).

    Raises:
        TypeError, ValueError: as `conv2d`, for shapes and settings that do not fit.

    Example:
        >>> import cnnjax
        >>> shapes = (8, 56, 56, 128), (3, 3, 1, 128)
        >>> explanation = cnnjax.explain(*shapes, padding="SAME", groups=128, platform="any cpu")
        >>> explanation.chosen["forward"].method
        'depthwise'
        >>> table = cnnjax.connections.one_to_one(128)
        >>> shapes = (8, 56, 56, 128), (3, 3, 128, 128)
        >>> cnnjax.explain(*shapes, connections=table, platform="any cpu").chosen["forward"].method
        'depthwise'

    Source: docs/guides/operator.md describes the rule and the measurements behind it.
    """
    check_method("explain", method)
    if connections is not None:
        check_matrix("explain", connections, tuple(w_shape), groups)
        blocks = blocks_for(connections, method)
        if blocks is not None:
            groups = len(blocks.inputs)
            w_shape = (*w_shape[:-2], w_shape[-2] // groups, w_shape[-1])
    settings = ConvSettings(stride, padding, dilation, groups)
    spec = settings.spec("explain", x_shape, w_shape, dtype)
    platform = default_platform() if platform is None else platform
    chosen, reasons = choices("explain", spec, method, platform)
    refused: dict[MethodName, str] = {name: reason for name, reason in reasons.items() if reason is not None}
    used = {name for name, _ in chosen.values()}
    return Explanation(platform, chosen, refused, tuple(name for name in reasons if name not in {*refused, *used}))
