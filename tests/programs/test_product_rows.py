"""The rows of convolutions and matrix products."""

import jax.numpy as jnp
from jax import lax
from read_programs import drafts

import cnnjax

IMAGE, KERNEL = jnp.ones((2, 9, 8, 4)), jnp.ones((3, 3, 2, 6))


def test_a_convolution():
    (row,) = drafts(lambda x, w: cnnjax.conv2d(x, w, groups=2, stride=2), IMAGE, KERNEL)
    assert (row.kind, row.kernel, row.c_in, row.c_out, row.groups) == ("Conv2D", (3, 3), 4, 6, 2)
    assert (row.size_in, row.size, row.volume()) == ((9, 8), (4, 3), (6, (4, 3)))
    assert row.num_macs == row.num_connections == 2 * 12 * 108
    assert [use.count for use in row.uses] == [108]


def test_a_dense_layer_after_a_flattened_image_has_the_image_as_its_kernel():
    def f(x, w, v):
        return cnnjax.conv2d(x, w, groups=2).reshape(2, -1) @ v

    _, row = drafts(f, IMAGE, KERNEL, jnp.ones((7 * 6 * 6, 10)))
    assert (row.kind, row.c_in, row.c_out, row.size, row.volume()) == ("Dense", 252, 10, (), (10, ()))
    assert (row.contracted[1], row.contracted[2]) == (7, 6)


def test_a_dense_layer_at_every_position():
    (row,) = drafts(lambda x, w: x @ w, jnp.ones((2, 5, 4)), jnp.ones((4, 3)))
    assert (row.c_in, row.c_out, row.size_in, row.size) == (4, 3, (5,), (5,))
    assert row.num_macs == 2 * 5 * 12


def test_weights_on_the_left():
    v, w = jnp.ones((5, 4)), jnp.ones((3, 5))
    first, second = drafts(lambda x: w @ jnp.tanh(v @ x), jnp.ones(4))
    assert (first.c_in, first.c_out, second.c_in, second.c_out) == (4, 5, 5, 3)


def test_a_product_of_two_activation_tensors_has_no_parameters():
    f = lambda x, v, w: jnp.einsum("ntd,nsd->nts", x @ v, x @ w)  # noqa: E731
    *_, row = drafts(f, jnp.ones((2, 5, 4)), jnp.ones((4, 4)), jnp.ones((4, 4)))
    assert (row.kind, row.uses, row.num_macs) == ("Product", [], 2 * 5 * 5 * 4)


def test_batched_weights_are_groups():
    f = lambda x, v, w: jnp.einsum("nge,geo->ngo", jnp.tanh(x @ v), w)  # noqa: E731
    _, row = drafts(f, jnp.ones((2, 3, 4)), jnp.ones((4, 4)), jnp.ones((3, 4, 5)))
    assert (row.groups, row.c_in, row.c_out, row.num_macs) == (3, 12, 15, 120)


def test_weights_are_followed_through_what_is_computed_from_them():
    f = lambda x, w: lax.conv_general_dilated(  # noqa: E731
        x, (0.1 * w - w.mean()).transpose(3, 2, 0, 1), (1, 1), "VALID", feature_group_count=2
    )
    (row,) = drafts(f, IMAGE.transpose(0, 3, 1, 2), KERNEL)
    assert {use.leaf for use in row.uses} == {1}
