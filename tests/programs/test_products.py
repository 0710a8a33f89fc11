"""Convolutions and matrix products described by the parameters of their equations."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from read_programs import flat

import cnnjax
from cnnjax import connections as tables
from cnnjax.programs.products import PRODUCTS, convolution, matrix_product, num_products


def described(f, *args):
    """The only product of a program: its operation, and its description."""
    (operation,) = (operation for operation in flat(f, *args).operations if operation.name in PRODUCTS)
    shapes, out = [aval.shape for aval in operation.shapes_in], operation.shapes_out[0].shape
    describe = matrix_product if operation.name == "dot_general" else convolution
    of = (operation.params,) if operation.name == "dot_general" else (operation.name, operation.params)
    found = describe(*of, shapes, out)
    assert num_products(operation.name, operation.params, shapes, out) == found.num_products
    return found


X, W = jnp.ones((2, 9, 11, 4)), jnp.ones((3, 2, 2, 6))
SETTINGS = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 3)}


def by_lax(x, w):
    return lax.conv_general_dilated(
        x,
        w,
        SETTINGS["stride"],
        SETTINGS["padding"],
        rhs_dilation=SETTINGS["dilation"],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=2,
    )


def test_a_convolution_of_cnnjax_is_described_as_that_of_lax():
    ours = described(lambda x, w: cnnjax.conv2d(x, w, groups=2, **SETTINGS), X, W)
    assert ours == described(by_lax, X, W)
    assert (ours.kind, ours.kernel, ours.c_in, ours.c_out, ours.groups) == ("Conv2D", (3, 2), 4, 6, 2)
    positions = 2 * 4 * 11
    assert (ours.num_weights, ours.num_products) == (72, 72 * positions)


def test_the_axes_are_those_of_any_layout():
    image, kernel = X.transpose(3, 1, 2, 0), W.transpose(3, 0, 2, 1)
    layouts = ("CHWN", "OHIW", "HNCW")
    found = described(lambda x, w: lax.conv_general_dilated(
        x, w, (1, 1), "VALID", dimension_numbers=layouts, feature_group_count=2), image, kernel)  # fmt: skip
    assert (found.batch, found.maps, found.spatial) == (3, 0, (1, 2))
    assert (found.out_batch, found.out_maps, found.out_spatial) == (1, 2, (0, 3))
    assert found.kernel == (3, 2)


@pytest.mark.parametrize("ours", [False, True])
def test_a_transposed_convolution_has_a_product_for_each_pixel_and_weight(ours):
    by_cnnjax = lambda x, w: cnnjax.conv2d_transpose(x, w, stride=2)  # noqa: E731
    by_jax = lambda x, w: lax.conv_transpose(x, w, (2, 2), "VALID")  # noqa: E731
    image = jnp.ones((1, 5, 5, 4))
    kernel = jnp.ones((3, 3, 6, 4)) if ours else jnp.ones((3, 3, 4, 6))
    found = described(by_cnnjax if ours else by_jax, image, kernel)
    assert (found.kind, found.c_in, found.c_out, found.spread) == ("Conv2DTranspose", 4, 6, (2, 2))
    assert found.num_products == 25 * 9 * 24


def test_connections_count_their_links_only_and_repeat_under_vmap():
    table = tables.from_rows([[0], [0, 1], [1]], 2)
    w = jnp.ones((3, 3, 2, 3))
    f = lambda x, w: cnnjax.conv2d(x, w, connections=table)  # noqa: E731
    one = described(f, jnp.ones((1, 5, 5, 2)), w)
    assert (one.num_weights, one.num_products) == (36, 36 * 9)
    many = described(jax.vmap(f), jnp.ones((4, 1, 5, 5, 2)), jnp.ones((4, *w.shape)))
    assert (many.num_weights, many.num_products) == (4 * 36, 4 * 36 * 9)


def test_a_weight_gradient_is_a_convolution_whose_kernel_is_the_map_of_positions():
    loss = lambda w: cnnjax.conv2d(X, w, groups=2, stride=2).sum()  # noqa: E731
    operations = [o for o in flat(jax.grad(loss), W).operations if o.name == "cnnjax_weight_gradient"]
    (operation,) = operations
    found = convolution(operation.name, operation.params, [], ())
    assert (found.kernel, found.dilation, found.stride) == ((4, 5), (2, 2), (1, 1))
    assert (found.out_batch, found.out_maps, found.out_spatial) == (2, 3, (0, 1))
    assert found.num_products == 2 * 20 * 72


def test_a_matrix_product():
    found = described(lambda a, b: jnp.einsum("bhtd,bshd->bhts", a, b), jnp.ones((2, 3, 5, 7)), jnp.ones((2, 4, 3, 7)))
    assert found.num_products == 2 * 3 * 5 * 4 * 7
    assert found.num_groups == 6
    assert [len(free) for free in found.free] == [1, 1]
    assert {*found.placed[0].values(), *found.placed[1].values()} == {0, 1, 2, 3}
