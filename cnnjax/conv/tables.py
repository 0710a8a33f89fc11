"""Connection tables in a convolution: checks, the mask on the weights, and tables that are equivalent to groups."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax.connections import Blocks, ConnectionTable, blocks_of, grouped
from cnnjax.conv.settings import Connections, ConvSettings
from cnnjax.operator import Links, MethodName, Tuned

__all__ = [
    "as_table",
    "blocks_for",
    "check_is_table",
    "check_matrix",
    "check_not_grouped",
    "dense_weights",
    "masked",
    "reorder_maps",
    "weights_of_blocks",
    "wired",
]


def check_matrix(
    caller: str, connections: ConnectionTable | ArrayLike, w_shape: tuple[int, ...], groups: int
) -> ArrayLike:
    """Return the boolean matrix (C_in, C_out), which may be traced, after checking it against w and `groups`."""
    matrix = connections.matrix if isinstance(connections, ConnectionTable) else connections
    if getattr(matrix, "dtype", None) != np.bool_:
        raise type_error(
            caller,
            "connections",
            got=describe(matrix),
            expected="a ConnectionTable or a boolean array (C_in, C_out)",
            fix="pass table > 0, or build one with cnnjax.connections",
        )
    check_not_grouped(caller, groups)
    if np.shape(matrix) != w_shape[-2:]:
        is_transposed = np.shape(matrix) == w_shape[:-3:-1]
        raise value_error(
            caller,
            "connections",
            got=f"a table of shape {np.shape(matrix)}",
            expected=f"(C_in, C_out) = {w_shape[-2:]}, as w {w_shape} has",
            fix="transpose the table if its rows are output maps" if is_transposed else "resize it",
        )
    return matrix


def check_is_table(caller: str, connections: Any, groups: int) -> None:
    """Raise unless `connections` is None, or a `ConnectionTable` and `groups` is 1."""
    if connections is None:
        return
    if not isinstance(connections, ConnectionTable):
        raise type_error(
            caller,
            "connections",
            got=describe(connections),
            expected="a ConnectionTable or None",
            fix="wrap a boolean (C_in, C_out) array in cnnjax.ConnectionTable",
        )
    check_not_grouped(caller, groups)


def check_not_grouped(caller: str, groups: int) -> None:
    """Raise ArgumentValueError for a table that is given together with groups."""
    if groups != 1:
        raise value_error(
            caller,
            "connections",
            got=f"given together with groups={groups}",
            expected="one of the two",
            fix="use connections.grouped(C_in, C_out, groups) for groups in a table",
        )


def as_table(
    caller: str, connections: ConnectionTable | None, c_in: int, c_out: int, groups: int, c_out_name: str = "C_out"
) -> ConnectionTable:
    """Return the table of a convolution of C_in to C_out maps: the given one, or that of the groups."""
    check_is_table(caller, connections, groups)
    if connections is None:
        return grouped(c_in, c_out, groups)
    if connections.matrix.shape != (c_in, c_out):
        raise value_error(
            caller,
            "connections",
            got=f"a table of shape {connections.matrix.shape}",
            expected=f"(C_in, {c_out_name}) = {(c_in, c_out)}",
            fix="use a table made for these numbers of maps",
        )
    return connections


def masked(w: jax.Array, matrix: ArrayLike) -> jax.Array:
    """Set the weights (*kernel, C_in, C_out) of unconnected pairs to zero, and so their derivatives of every order."""
    return jnp.where(jnp.asarray(matrix), w, jnp.zeros_like(w))


def dense_weights(w: jax.Array, table: ConnectionTable, groups: int) -> jax.Array:
    """Expand weights (*kernel, C_in / groups, C_out) to (*kernel, C_in, C_out), with zeros for unconnected pairs."""
    return masked(jnp.tile(w, (*(1,) * (w.ndim - 2), groups, 1)), table.matrix)


def blocks_for(connections: Connections, method: MethodName | Tuned) -> Blocks | None:
    """Return the blocks of a checked table if they are computed as groups, else None.

    A method requested by name gets the whole table as a mask on the weights, because it may not serve groups. A table
    in a JAX array may be traced, so it becomes a mask as well.
    """
    if isinstance(connections, np.ndarray):
        connections = ConnectionTable(connections)
    by_name = isinstance(method, str) and method != "auto"
    return None if by_name or not isinstance(connections, ConnectionTable) else blocks_of(connections)


class Wiring(NamedTuple):
    """How the operator computes a table: in groups of reordered maps, and by the links within the groups.

    Attributes:
        groups: the number of groups.
        inputs: the order of the input maps in which the groups are consecutive.
        outputs: the same of the output maps.
        links: which maps of each group are connected, None if all are.
    """

    groups: int
    inputs: np.ndarray
    outputs: np.ndarray
    links: Links | Literal["nonzero weights"] | None


def wired(caller: str, w: jax.Array, settings: ConvSettings, groups: int) -> tuple[jax.Array, Wiring]:
    """Return the weights (*kernel, C_in / groups, C_out) as the operator needs them for a table, and the wiring.

    The weights of unconnected pairs become zero. Raises, for the function `caller`, if the table does not fit.
    """
    connections = settings.connections
    inputs, outputs = np.arange(w.shape[-2] * groups), np.arange(w.shape[-1])
    if connections is None:
        return w, Wiring(groups, inputs, outputs, None)
    matrix = check_matrix(caller, connections, w.shape, groups)
    w = masked(w, matrix)
    if isinstance(matrix, jax.Array):
        # It may be traced. The operator tells connected pairs by their weights.
        return w, Wiring(1, inputs, outputs, "nonzero weights")
    blocks = blocks_for(connections, settings.method) or Blocks(inputs[None], outputs[None])
    table = np.asarray(matrix)[blocks.inputs[:, :, None], blocks.outputs[:, None, :]]
    links = None if table.all() else Links.of(table)
    w = weights_of_blocks(w, blocks) if len(blocks.inputs) > 1 else w
    return w, Wiring(len(blocks.inputs), blocks.inputs.ravel(), blocks.outputs.ravel(), links)


def reorder_maps(x: jax.Array, maps: np.ndarray) -> jax.Array:
    """Return x (..., C) with its maps in the given order."""
    order = maps.ravel()
    return x if np.array_equal(order, np.arange(x.shape[-1])) else x[..., order]


def weights_of_blocks(w: jax.Array, blocks: Blocks) -> jax.Array:
    """Return the weights (*kernel, C_in, C_out) of a table as those of groups, (*kernel, C_in / groups, C_out)."""
    within = w[..., blocks.inputs[:, :, None], blocks.outputs[:, None, :]]  # (*kernel, g, C_in / g, C_out / g)
    within = jnp.moveaxis(within, -3, -2)
    return within.reshape(*within.shape[:-2], -1)
