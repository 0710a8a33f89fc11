"""The losses for LeNet-5's radial basis function units, numerically stable in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike

from cnnjax._core.arguments import as_array, check_rank
from cnnjax._core.messages import describe, type_error, value_error

__all__ = ["Loss", "map_loss", "mle_loss"]

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""(scores (N, classes), labels (N,)) -> the mean loss over the batch."""


def mle_loss(distances: ArrayLike, labels: ArrayLike) -> jax.Array:
    """Return the mean distance to the code of the true class::

        E = mean_n distances[n, labels[n]]

    If the codes are trained too, it has a trivial minimum where all codes are equal; with fixed codes it ignores the
    other classes.

    Args:
        distances: squared distances (N, classes), the output of `RBF` units.
        labels: integers (N,) in 0 .. classes - 1.

    Returns:
        E, a scalar.

    Raises:
        TypeError: for values that are not arrays, or labels that are not integers.
        ValueError: for other shapes.

    Example:
        >>> print(mle_loss(jnp.array([[1.0, 84.0]]), jnp.array([0])))
        1.0

    Source: LeCun et al. 1998, equation 8.
    """
    distances, labels = _check_arguments("mle_loss", distances, labels)
    return jnp.mean(_true_class(distances, labels))


def map_loss(distances: ArrayLike, labels: ArrayLike, *, rubbish: float = 1.0) -> jax.Array:
    """Return the maximum a posteriori loss: the distance of the true class, in competition with the others::

        E = mean_n ( y[n, labels[n]] + log(exp(-j) + sum_i exp(-y[n, i])) ),   j = rubbish > 0

    exp(-j) belongs to a "rubbish" class that wins when every distance is large. E is positive. At the start of
    training the distances are near 84, where exp(-y) underflows in float32; the second term is therefore computed as
    the log-sum-exp of {-j, -y[n, i]}.

    Args:
        distances: squared distances (N, classes), the output of `RBF` units.
        labels: integers (N,) in 0 .. classes - 1.
        rubbish: j, positive; the paper gives no value.

    Returns:
        E, a scalar.

    Raises:
        TypeError: for values that are not arrays, or labels that are not integers.
        ValueError: for other shapes, or a rubbish that is not positive.

    Example:
        >>> print(map_loss(jnp.full((1, 10), 200.0), jnp.array([3]), rubbish=1.0))
        199.0

    Source: LeCun et al. 1998, equation 9.
    """
    caller = "map_loss"
    if not isinstance(rubbish, (int, float)) or not rubbish > 0:
        raise value_error(caller, "rubbish", got=describe(rubbish), expected="a positive number", fix="use rubbish=1.0")
    distances, labels = _check_arguments(caller, distances, labels)
    constant = jnp.full((distances.shape[0], 1), -rubbish, distances.dtype)
    competition = logsumexp(jnp.concatenate([constant, -distances], axis=1), axis=1)
    return jnp.mean(_true_class(distances, labels) + competition)


def _true_class(distances: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.take_along_axis(distances, labels[:, None].astype(jnp.int32), axis=1)[:, 0]


def _check_arguments(caller: str, distances: Any, labels: Any) -> tuple[jax.Array, jax.Array]:
    distances = as_array(caller, "distances", distances)
    check_rank(caller, "distances", distances, ("N", "classes"))
    if not (hasattr(labels, "dtype") and np.issubdtype(labels.dtype, np.integer)):
        raise type_error(
            caller, "labels", got=describe(labels), expected="an array of integers", fix="pass the class numbers"
        )
    if labels.shape != distances.shape[:1]:
        raise value_error(
            caller,
            "labels",
            got=describe(labels),
            expected=f"shape {distances.shape[:1]}, one label for each row of distances {distances.shape}",
            fix="pass class numbers, not one-hot rows" if labels.ndim > 1 else "pass as many labels as images",
        )
    return distances, jnp.asarray(labels)
