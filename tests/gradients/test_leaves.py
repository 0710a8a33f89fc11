"""The flat view of a function: names, and values that come back as they went in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnnjax.gradients.leaves import Leaf, as_the_user_runs_it, find_leaf, flatten_function, wide_dtype

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
    np.testing.assert_array_equal(flat.native(jnp.asarray(flat.point)), flat.point)


def test_elements_have_the_names_a_user_would_write():
    leaf = Leaf("args[1]['w']", (2, 3), np.dtype(np.float32), 10)
    assert leaf.element(15) == "args[1]['w'][1, 2]"
    assert Leaf("args[0]", (), np.dtype(np.float32), 0).element(0) == "args[0]"
    number = Leaf("args[0]", (2,), np.dtype(np.complex64), 0)
    assert (number.stop, number.element(1), number.element(2)) == (4, "args[0][1].real", "args[0][0].imag")
    assert find_leaf([leaf, number], 3) is number


def test_what_has_no_derivative_is_left_in_place_and_listed():
    key = jax.random.key(0)
    flat = flatten_function(lambda x, i, k, s: (x * i, i, s), (jnp.ones(2), 3, key, None))
    assert [leaf.name for leaf in flat.inputs] == ["args[0]"]
    assert [leaf.name for leaf in flat.outputs] == ["output[0]"]
    assert [name.split()[0] for name, _ in flat.skipped] == ["args[1]", "args[2]", "output[1]"]
    np.testing.assert_array_equal(flat.native(jnp.ones(2)), [3.0, 3.0])


def test_python_numbers_stay_weak():
    flat = flatten_function(lambda a, x: a * x, (2.0, np.ones(2, np.float32)))
    (a, x) = flat.split(jnp.asarray(flat.point), widen=False)
    assert (a * x).dtype == np.float32


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        (jnp.bfloat16, np.float64),
        (np.float16, np.float64),
        (np.complex64, np.complex128),
        (np.int32, np.int32),
    ],
)
def test_wide_dtypes(dtype, wide):
    assert wide_dtype(np.dtype(dtype)) == wide


def test_what_fails_is_tried_again_unless_there_is_no_derivative():
    calls = []

    def fails(message):
        calls.append(message)
        raise TypeError(message)

    for message, times in (("float64 is not float32", 2), ("can't apply forward-mode differentiation (jvp) to", 1)):
        with pytest.raises(TypeError):
            as_the_user_runs_it(lambda message=message: fails(message))
        assert calls.count(message) == times
