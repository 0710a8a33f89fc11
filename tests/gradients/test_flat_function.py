"""The flat view of a function: names, and values that come back as they went in."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnnjax.gradients.flat_function import flatten_function, pack_on_host, unpack_on_host

ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.complex64]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    elements=st.just(1.5),
)


@settings(max_examples=40)  # each new shape is compiled
@given(st.dictionaries(st.sampled_from("abc"), ARRAYS, min_size=1))
def test_splitting_is_the_inverse_of_packing(tree):
    flat = flatten_function(lambda tree: tree, (tree,))
    found = flat.split(jnp.asarray(flat.point), widen=False)
    for array, expected in zip(found, jax.tree.leaves(tree), strict=True):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(flat.in_own_dtype(jnp.asarray(flat.point)), flat.point)


def test_what_has_no_derivative_is_left_in_place_and_listed():
    key = jax.random.key(0)
    flat = flatten_function(lambda x, i, k, s: (x * i, i, s), (jnp.ones(2), 3, key, None))
    assert [leaf.name for leaf in flat.inputs] == ["args[0]"]
    assert [leaf.name for leaf in flat.outputs] == ["output[0]"]
    assert [name.split()[0] for name, _ in flat.skipped] == ["args[1]", "args[2]", "output[1]"]
    np.testing.assert_array_equal(flat.in_own_dtype(jnp.ones(2)), [3.0, 3.0])


def test_numpys_integers_have_the_dtype_that_jax_gives_them():
    labels = np.array([0, 2, 1], np.int64)
    with jax.enable_x64(False):
        flat = flatten_function(lambda x, labels: x[labels] * labels.dtype.itemsize, (np.ones(3, np.float32), labels))
    with jax.enable_x64(True):  # where the function is evaluated in float64
        np.testing.assert_array_equal(flat.in_float64(jnp.ones(3)), [4.0, 4.0, 4.0])


def test_python_numbers_stay_weak():
    flat = flatten_function(lambda a, x: a * x, (2.0, np.ones(2, np.float32)))
    (a, x) = flat.split(jnp.asarray(flat.point), widen=False)
    assert (a * x).dtype == np.float32


def test_packing_on_the_host_is_the_same():
    args = (np.arange(3.0), np.array([1 + 2j, 3 - 4j]), 2.0)
    flat = flatten_function(lambda *args: args, args)
    np.testing.assert_array_equal(pack_on_host(args), flat.point)
    for array, expected in zip(unpack_on_host(flat.point, flat.inputs), args, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_the_function_in_float64_has_more_digits():
    flat = flatten_function(lambda x: x / 3, (np.array([1.0], np.float32),))
    with jax.enable_x64(True):
        assert float(flat.in_float64(jnp.asarray(flat.point))[0]) == 1 / 3
        assert float(flat.in_own_dtype(jnp.asarray(flat.point))[0]) == float(np.float32(1) / np.float32(3))
