"""With drop_in, any call of lax.conv_general_dilated and both its gradients are the sums of the definition in float64.

Along each spatial axis the products are those of all q, p and t with::

    lhs_dilation * q + before = window_stride * p + rhs_dilation * t        (q in x, p in the result y, t in w)

NumPy computes them as the trilinear form T(x, w, y), each of whose factors is left out in turn.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax

from cnnjax import drop_in

RESULTS = {  # for each dtype, those that may be preferred for the result
    "float16": [None, "float32"],
    "bfloat16": [None, "float32", "float64"],
    "float32": [None, None, "float64"],
    "float64": [None],
    "complex64": [None],
    "int32": [None, "int64"],
    "uint8": [None, "uint32"],
}
PRECISIONS = [None, "highest", lax.Precision.HIGH, ("default", "highest")]
# The axes of x, w and y: group, image, input map and output map, and the letters of the spatial ones.
AXES = {"x": ("knc", "abd"), "w": ("koc", "rst"), "y": ("kno", "uvw")}


@dataclass(frozen=True)
class Convolution:
    """The arguments of a call of conv_general_dilated, and the sizes of its arrays in each group."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    layout: tuple[str, str, str]
    groups: int
    batch_groups: int
    images: int
    inputs: int
    outputs: int
    precision: object
    preferred: str | None

    def __call__(self, x, w):
        return lax.conv_general_dilated(
            x,
            w,
            self.stride,
            self.padding,
            self.lhs_dilation,
            self.rhs_dilation,
            self.layout,
            self.groups,
            self.batch_groups,
            self.precision,
            self.preferred,
        )

    @property
    def padded(self):
        """The sizes of x after its dilation and padding."""
        dilated = [max((n - 1) * d + 1, 0) for n, d in zip(self.size, self.lhs_dilation, strict=True)]
        return [n + sum(pads) for n, pads in zip(dilated, self.padding, strict=True)]

    @property
    def positions(self):
        """The spatial sizes of y."""
        sizes = zip(self.padded, self.kernel, self.rhs_dilation, self.stride, strict=True)
        return [max((n - (k - 1) * d - 1) // s + 1, 0) for n, k, d, s in sizes]

    def shape(self, name):
        """The shape of x (k, n, c, *size), w (k, o, c, *kernel) or y (k, n, o, *positions)."""
        sizes = {"k": self.groups * self.batch_groups, "n": self.images, "c": self.inputs, "o": self.outputs}
        spatial = {"x": self.size, "w": self.kernel, "y": self.positions}[name]
        return [*(sizes[axis] for axis in AXES[name][0]), *spatial]

    def laid_out(self, name, array):
        """An array of this shape as the call takes or returns it."""
        group, first, second, *spatial = array.shape
        if name == "w" or (name == "x" and self.batch_groups > 1):
            array = array.reshape(group * first, second, *spatial)
        else:
            array = np.moveaxis(array, 0, 1).reshape(first, group * second, *spatial)
        # JAX's other arguments list the spatial axes in their order in the specification of the weights.
        order = ("OI" if name == "w" else "NC") + self.layout[1].replace("O", "").replace("I", "")
        return array.transpose([order.index(axis) for axis in self.layout["xwy".index(name)]])

    def sums(self, name, arrays):
        """The derivative of T with respect to the factor `name`, of which the other two are given."""
        others = [other for other in AXES if other != name]
        of = {array: maps + spatial[: len(self.size)] for array, (maps, spatial) in AXES.items()}
        factors, subscripts = [arrays[other] for other in others], [of[other] for other in others]
        for axis in range(len(self.size)):
            q, t, p = np.ix_(range(self.size[axis]), range(self.kernel[axis]), range(self.positions[axis]))
            pixel = self.stride[axis] * p + self.rhs_dilation[axis] * t - self.padding[axis][0]
            factors.append((self.lhs_dilation[axis] * q == pixel).astype(np.int64))
            subscripts.append("".join(of[array][3 + axis] for array in AXES))
        return np.einsum(f"{','.join(subscripts)}->{of[name]}", *factors, optimize=True)


@st.composite
def convolutions(draw, dtype):
    """Any convolution with up to three axes."""
    axes = draw(st.sampled_from([1, 2, 3, 1, 2, 3, 0]))
    each = lambda values: tuple(draw(values) for _ in range(axes))  # noqa: E731
    may_be_empty, may_be_cropped, is_spread = (draw(st.integers(0, rarity)) == rarity for rarity in (9, 3, 2))
    kernel, rhs_dilation = each(st.integers(1, 4)), each(st.integers(1, 3))
    pads = [
        st.integers(-3 if may_be_cropped else 0, (k - 1) * d + 3) for k, d in zip(kernel, rhs_dilation, strict=True)
    ]
    groups, batch_groups = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (5, 1), (1, 2), (1, 3)]))
    convolution = Convolution(
        size=each(st.integers(0 if may_be_empty else 1, 9)),
        kernel=kernel,
        stride=each(st.integers(1, 3)),
        padding=tuple((draw(pad), draw(pad)) for pad in pads),
        lhs_dilation=each(st.integers(1, 3)) if is_spread else (1,) * axes,
        rhs_dilation=rhs_dilation,
        layout=tuple("".join(draw(st.permutations(maps + "DHW"[:axes]))) for maps in ("NC", "OI", "NC")),
        groups=groups,
        batch_groups=batch_groups,
        images=draw(st.integers(0 if may_be_empty else 1, 3)),
        inputs=draw(st.integers(1, 4)),
        outputs=draw(st.integers(1, 4)),
        precision=draw(st.sampled_from(PRECISIONS)),
        preferred=draw(st.sampled_from(RESULTS[dtype])),
    )
    assume(all(n >= 0 for n in convolution.padded))  # JAX refuses to remove more than there is
    return convolution


def is_integer(dtype):
    return np.dtype(dtype).kind in "iu"


def numbers(rng, shape, dtype):
    if is_integer(dtype):  # sums that overflow are the same in any order
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    values = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype == "complex64" else 0)
    return values.astype(jnp.dtype(dtype))


def wide(array):
    """The same numbers in float64, complex128 or int64."""
    dtypes = {"i": "int64", "u": "int64", "c": "complex128"}
    return np.asarray(array).astype(dtypes.get(np.dtype(array.dtype).kind, "float64"))


def rounding(convolution, name, arrays, expected, dtype):
    """How far a sum of n products, in any order, may be away: n roundings of the sum of their absolute values.

    Half precision is summed in float32, and the result is rounded once more.
    """
    if is_integer(dtype):
        return np.zeros(expected.shape)
    ones = {other: np.ones(array.shape, np.int64) for other, array in arrays.items()}
    total = convolution.sums(name, {other: np.abs(array) for other, array in arrays.items()})
    number = convolution.sums(name, ones)
    if np.dtype(dtype).kind == "c":  # XLA's three real products, of sums of parts, for each complex one
        number = 4 * (number + 2)
    summed, result = jnp.finfo("float32" if jnp.finfo(dtype).bits == 16 else dtype), jnp.finfo(dtype)
    units = number * float(summed.eps) / 2
    last = float(result.eps) * np.abs(expected) if result.bits == 16 else 0
    return units / (1 - units) * total + last + float(result.smallest_subnormal)


@settings(max_examples=50)
@given(st.data())
def test_values_and_gradients_are_those_of_float64(data):
    dtype = data.draw(st.sampled_from(["float32", *RESULTS]))
    convolution = data.draw(convolutions(dtype))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    dtypes = {"x": dtype, "w": dtype, "y": convolution.preferred or dtype}
    arrays = {name: numbers(rng, convolution.shape(name), dtypes[name]) for name in AXES}

    def directions(x, w, y):
        if is_integer(dtype):
            return {"y": convolution(x, w)}
        result, pull = jax.vjp(convolution, x, w)
        return dict(zip("yxw", (result, *pull(y)), strict=True))

    with drop_in.enabled():
        found = jax.jit(directions)(*(jnp.asarray(convolution.laid_out(name, a)) for name, a in arrays.items()))
    arrays = {name: wide(array) for name, array in arrays.items()}
    for name, array in found.items():
        expected = convolution.sums(name, arrays)
        if is_integer(array.dtype):
            expected = wide(expected.astype(array.dtype))
        error = convolution.laid_out(name, rounding(convolution, name, arrays, expected, dtypes[name]))
        expected = convolution.laid_out(name, expected)
        assert (array.dtype, array.shape) == (dtypes[name], expected.shape)
        beyond = np.abs(wide(array) - expected) - error
        assert np.max(beyond, initial=0) <= 0, f"{name} is wrong by {np.max(beyond)} more than rounding explains"
