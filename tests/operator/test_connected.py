"""Connected maps in the operator: groups with a table of their own, and what an unconnected map holds."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import integers, normal

from cnnjax import reference
from cnnjax._core.shapes import conv_geometry
from cnnjax.operator.connected import compute
from cnnjax.operator.spec import ConvSpec, Links

TABLE = np.array([[[1, 0, 1], [1, 1, 0]], [[0, 1, 1], [1, 1, 1]]], bool)  # two groups of 2 to 3 maps, not the same
SPEC = ConvSpec(
    conv_geometry("test", (5, 6), (2, 3), stride=2, padding=1),
    2,
    4,
    6,
    2,
    dtype=np.dtype("float64"),
    links=Links.of(TABLE),
)
SETTINGS = {"stride": 2, "padding": 1}


def masked_weights(seed):
    """Weights of the two groups, (2, 3, 2, 6), zero where two maps are not connected."""
    return integers(SPEC.w_shape, seed) * TABLE.swapaxes(0, 1).reshape(2, 6)


def dense(w):
    """The same convolution in one group: its weights, and its table (C_in, C_out)."""
    whole, table = np.zeros((2, 3, 4, 6)), np.zeros((4, 6), bool)
    for g in range(2):
        whole[:, :, 2 * g : 2 * g + 2, 3 * g : 3 * g + 3] = w[..., 3 * g : 3 * g + 3]
        table[2 * g : 2 * g + 2, 3 * g : 3 * g + 3] = TABLE[g]
    return whole, table


def run(direction, a, b, spec=SPEC):
    dtype = jnp.result_type(a, b)
    return jax.jit(lambda a, b: compute(direction, a, b, spec, dtype, "cpu"))(jnp.asarray(a), jnp.asarray(b))


@pytest.mark.parametrize("links", [Links.of(TABLE), "nonzero weights"])
@pytest.mark.parametrize("spoilt", [None, np.nan, np.inf])
@pytest.mark.parametrize("channel", range(4))
def test_every_map_reads_its_connected_maps_in_every_group(channel, spoilt, links):
    spec = replace(SPEC, links=links)
    w = np.where(masked_weights("w") == 0, TABLE.swapaxes(0, 1).reshape(2, 6) * 2.0, masked_weights("w"))
    whole, table = dense(w)
    x, y = normal(SPEC.x_shape, "x"), normal(SPEC.y_shape, "y")
    if spoilt is not None:
        x[0, 2, 3, channel] = y[1, 1, 2, channel] = spoilt
    exact = reference.convolve(x, whole, connections=table, **SETTINGS)
    gradient = reference.input_gradient(x.shape, whole, y, connections=table, **SETTINGS)
    for ours, right in ((run("forward", x, w, spec), exact), (run("input_gradient", w, y, spec), gradient)):
        finite = np.isfinite(right)
        np.testing.assert_array_equal(np.isfinite(ours), finite)
        np.testing.assert_allclose(np.asarray(ours)[finite], right[finite], rtol=1e-12, atol=1e-12)


def test_the_weight_gradient_is_that_of_all_pairs():
    x, y = integers(SPEC.x_shape, "x"), integers(SPEC.y_shape, "y")
    by_all = reference.weight_gradient(x, SPEC.w_shape, y, groups=2, **SETTINGS)
    np.testing.assert_array_equal(run("weight_gradient", x, y), by_all)


def test_integers_are_always_finite():
    x, w = integers(SPEC.x_shape, "x").astype("int32"), masked_weights("w").astype("int32")
    text = str(jax.make_jaxpr(lambda x, w: compute("forward", x, w, SPEC, x.dtype, "any cpu"))(x, w))
    assert "cond" not in text
    np.testing.assert_array_equal(run("forward", x, w), reference.convolve(x, w, groups=2, **SETTINGS))


def test_an_empty_batch_stays_empty():
    spec = replace(SPEC, n=0)
    assert run("forward", np.zeros(spec.x_shape), masked_weights("w"), spec).shape == spec.y_shape
