"""The one table of convolutions that every property is crossed with, and the space that hypothesis draws from.

A case is small, so that the plain loops of `cnnjax.reference` stay quick. What the oracle says of a case is kept.
"""

import functools
import itertools
import zlib
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import cnnjax
from cnnjax import connections as tables
from cnnjax import reference
from cnnjax._core.shapes import conv_geometry
from cnnjax.operator.spec import ConvSpec

CONV = {1: cnnjax.conv1d, 2: cnnjax.conv2d, 3: cnnjax.conv3d}
GENERAL = ("definition", "lax", "auto")  # they serve every call; tests/operator has the methods that do not
DTYPES = ("float64", "float32", "bfloat16", "float16", "complex64")
UNEQUAL_TABLE = tables.from_rows([[0], [0, 1, 2], [], [1, 2]], c_in=3)


@dataclass(frozen=True)
class Case:
    """One convolution: the shapes of x and w, and the settings. Without `batched`, x has no axis N."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    settings: dict[str, Any] = field(default_factory=dict, hash=False)
    table: tables.ConnectionTable | None = None
    batched: bool = True

    @property
    def spatial(self):
        return len(self.w) - 2

    @property
    def batched_x(self):
        return self.x if self.batched else (1, *self.x)

    @property
    def b(self):
        return self.w[-1:]

    @functools.cached_property
    def output(self):
        """The shape of the result, batched, by the sizes that the oracle finds."""
        _, sizes = reference._pixels_read(self.batched_x[1:-1], self.w[:-2], **self.where)
        return (self.batched_x[0], *sizes, self.w[-1])

    @property
    def where(self):
        return {key: value for key, value in self.settings.items() if key != "groups"}

    @property
    def for_oracle(self):
        matrix = None if self.table is None else self.table.matrix
        return {**self.settings, "connections": matrix}

    def convolve(self, x, w, b=None, **more):
        """Our convolution of this case."""
        return CONV[self.spatial](x, w, b, connections=self.table, **self.settings, **more)

    def one(self, x):
        """An array of the shape `batched_x` or `output`, as the case hands it in or gets it back."""
        return x if self.batched else x[0]

    def draw(self, what, dtype="float64"):
        """Fixed normal numbers of the shape of "x", "w", "b" or "y", rounded to `dtype`; batched."""
        return normal(self._shape(what), f"{self.name}/{what}", dtype)

    def draw_integers(self, what, salt=""):
        """Fixed integers from -3 to 3, in float64: their sums of products are exact in any order."""
        return integers(self._shape(what), f"{self.name}/{what}/{salt}")

    def _shape(self, what):
        return {"x": self.batched_x, "w": self.w, "b": self.b, "y": self.output}[what[0]]


def normal(shape, seed, dtype="float64"):
    """Normal numbers that depend on `shape` and the text `seed` alone, as a NumPy array of `dtype`."""
    random = np.random.default_rng(zlib.crc32(f"{seed}{shape}".encode()))
    values = random.standard_normal(shape)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        values = values + 1j * random.standard_normal(shape)
    return values.astype(jnp.dtype(dtype))


def parameters_of(network, dtype="float64", scale=0.3):
    """Normal numbers in the place of a network's parameters: quicker than its own draw, which compiles."""
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    draw = lambda path, like: scale * jnp.asarray(normal(like.shape, jax.tree_util.keystr(path), dtype))  # noqa: E731
    return jax.tree_util.tree_map_with_path(draw, shapes)


def integers(shape, seed):
    random = np.random.default_rng(zlib.crc32(f"{seed}{shape}".encode()))
    return random.integers(-3, 4, shape).astype(np.float64)


CASES = (
    Case("the question's 9x9x10 under 3x3x10", (1, 9, 9, 10), (3, 3, 10, 2)),
    Case("one pixel, one map", (1, 1, 1, 1), (1, 1, 1, 1)),
    Case("kernel as large as the image", (2, 4, 3, 2), (4, 3, 2, 3)),
    Case("1x1 mixes maps", (2, 3, 4, 3), (1, 1, 3, 5)),
    Case("no batch axis", (6, 5, 2), (3, 2, 2, 3), {}, None, False),
    Case("no batch axis, circular", (5, 6, 2), (3, 3, 2, 2), {"padding": "CIRCULAR"}, None, False),
    Case("same, even kernel", (2, 5, 6, 2), (2, 4, 2, 3), {"padding": "SAME"}),
    Case("same lower, even kernel", (2, 5, 6, 2), (2, 4, 2, 3), {"padding": "SAME_LOWER"}),
    Case("same, unequal stride", (1, 7, 8, 2), (3, 4, 2, 2), {"padding": "SAME", "stride": (2, 3)}),
    Case("same, kernel larger than image", (1, 2, 3, 2), (5, 4, 2, 2), {"padding": "SAME"}),
    Case("stride over the kernel", (1, 9, 8, 2), (2, 2, 2, 2), {"stride": 3}),
    Case("tiles, a row over", (2, 7, 6, 2), (3, 2, 2, 3), {"stride": (3, 2)}),
    Case("stride leaves a row over", (1, 8, 6, 1), (3, 3, 1, 2), {"stride": 2}),
    Case("integer padding", (1, 4, 5, 2), (3, 3, 2, 2), {"padding": 2}),
    Case("one integer an axis", (1, 4, 5, 2), (3, 3, 2, 2), {"padding": (0, 2)}),
    Case("unequal pairs", (1, 4, 5, 2), (3, 2, 2, 2), {"padding": ((2, 0), (1, 3)), "stride": (1, 2)}),
    Case("padding over the kernel", (1, 2, 2, 1), (2, 2, 1, 2), {"padding": ((3, 2), (0, 4))}),
    Case("circular, even kernel, stride 2", (1, 6, 5, 2), (4, 3, 2, 2), {"padding": "CIRCULAR", "stride": 2}),
    Case("circular over the whole image", (1, 2, 3, 1), (5, 3, 1, 2), {"padding": "CIRCULAR"}),
    Case("reflect, even kernel", (2, 4, 5, 2), (3, 4, 2, 2), {"padding": "REFLECT"}),
    Case("reflect, stride, dilation", (1, 5, 6, 1), (3, 2, 1, 2), {"padding": "REFLECT", "stride": 2, "dilation": 2}),
    Case("edge, even kernel, stride 2", (2, 4, 5, 2), (4, 3, 2, 2), {"padding": "EDGE", "stride": 2}),
    Case("edge over the whole image", (1, 2, 3, 1), (5, 3, 1, 2), {"padding": "EDGE", "dilation": (2, 1)}),
    Case("unequal dilation", (1, 8, 7, 2), (3, 2, 2, 2), {"dilation": (2, 3)}),
    Case("dilation, stride, same", (1, 7, 7, 2), (3, 3, 2, 2), {"dilation": 2, "stride": 2, "padding": "SAME"}),
    Case("two groups", (2, 5, 4, 4), (3, 2, 2, 6), {"groups": 2}),
    Case("groups, stride, same", (1, 6, 5, 6), (2, 3, 2, 3), {"groups": 3, "stride": (1, 2), "padding": "SAME"}),
    Case("depthwise as groups", (1, 5, 5, 3), (3, 3, 1, 6), {"groups": 3, "padding": "CIRCULAR"}),
    Case("table, unequal", (2, 5, 4, 3), (3, 3, 3, 4), {"padding": 1}, UNEQUAL_TABLE),
    Case("table, reflect", (1, 4, 4, 3), (2, 3, 3, 4), {"padding": "REFLECT", "stride": 2}, UNEQUAL_TABLE),
    Case("Table I", (1, 5, 6, 6), (5, 5, 6, 16), {}, tables.LENET5_C3),
    Case("sequence", (2, 7, 3), (3, 3, 2), {"stride": 2, "padding": ((1, 2),)}),
    Case("causal, dilated", (2, 6, 2), (3, 2, 3), {"padding": "CAUSAL", "dilation": 2}),
    Case("causal, strided, grouped", (1, 7, 4), (2, 2, 4), {"padding": "CAUSAL", "stride": 3, "groups": 2}),
    Case("sequence, reflect, no batch", (6, 2), (4, 2, 2), {"padding": "REFLECT"}, None, False),
    Case("sequence, table", (1, 5, 3), (2, 3, 4), {"padding": "SAME_LOWER"}, UNEQUAL_TABLE),
    Case("tiles of a volume", (1, 2, 4, 3, 2), (1, 2, 3, 2, 2), {"stride": (1, 2, 3)}),
    Case("volume", (1, 4, 3, 5, 2), (2, 3, 2, 2, 2), {"stride": (1, 1, 2)}),
    Case("volume, same, dilated", (1, 3, 4, 3, 1), (2, 2, 3, 1, 2), {"padding": "SAME", "dilation": (1, 2, 1)}),
    Case("volume, circular, groups", (1, 2, 3, 2, 2), (2, 2, 1, 1, 4), {"padding": "CIRCULAR", "groups": 2}),
    Case("volume, pairs, no batch", (2, 3, 3, 1), (3, 2, 2, 1, 1), {"padding": ((1, 0), 0, (0, 1))}, None, False),
)
BY_NAME = {case.name: case for case in CASES}
PLAIN = [
    case for case in CASES if case.table is None and case.settings.get("padding") not in ("CIRCULAR", "EDGE", "REFLECT")
]
"""The cases without a table whose padding is zeros: those that a method is given as they are."""
SMALL = ("reflect, stride, dilation", "causal, dilated", "sequence, table", "volume, circular, groups")
"""Cases whose definition, written out, compiles quickly even when it is differentiated several times."""
FEW = (
    "same, unequal stride",
    "circular, even kernel, stride 2",
    "reflect, stride, dilation",
    "groups, stride, same",
    "table, unequal",
    "causal, dilated",
    "volume, circular, groups",
)
WRITTEN_OUT = 20  # the traced definition has a product for each tap and input map; differentiated, it compiles slowly
SPATIAL = [
    {"stride": stride, "padding": padding, "dilation": dilation}
    for padding in ("VALID", "SAME", "CIRCULAR", ((1, 0), (0, 1)))
    for stride, dilation in ((1, (1, 2)), ((2, 1), 1))
]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_method = pytest.mark.parametrize("method", GENERAL)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_case_and_method = pytest.mark.parametrize(
    ("case", "method"),
    [
        pytest.param(case, method, id=f"{case.name}-{method}")
        for case in CASES
        for method in GENERAL
        if method != "definition" or np.prod(case.w[:-1]) <= WRITTEN_OUT
    ],
)
each_small = pytest.mark.parametrize("case", [BY_NAME[name] for name in SMALL], ids=SMALL)
each_of_few_and_method = pytest.mark.parametrize(
    ("case", "method"),
    [
        pytest.param(BY_NAME[name], method, id=f"{name}-{method}")
        for method in GENERAL
        for name in (SMALL if method == "definition" else FEW)
    ],
)
TABLES = {
    "full": tables.full(4, 4),
    "one to one": tables.one_to_one(4),
    "grouped": tables.grouped(4, 6, 2),
    "depthwise": tables.depthwise(4, 2),
    "unequal, with an output that reads nothing": tables.from_rows([[0], [0, 1, 3], [], [1, 2]], 4),
    "only one link": tables.from_rows([[], [2], []], 4),
    "blocks out of order, with a gap": tables.from_rows([[1, 3], [0, 2], [3], [2, 0], [3, 1], [0]], 4),
}


def spec_of(case, dtype="float64"):
    """The operator's description of a plain case."""
    geometry = conv_geometry("test", case.batched_x[1:-1], case.w[:-2], **case.where)
    maps = case.batched_x[-1], case.w[-1], case.settings.get("groups", 1)
    return ConvSpec(geometry, case.batched_x[0], *maps, dtype=jnp.dtype(dtype))


def jitted(case, method):
    return jax.jit(lambda x, w, b=None: case.convolve(x, w, b, method=method))


@functools.cache
def rounded_draws(case, dtype):
    """x, w, b of a case, rounded to `dtype`: what the oracle and ours both start from."""
    return tuple(case.draw(what, dtype) for what in "xwb")


@functools.cache
def oracle(case, dtype="float64"):
    """The convolution of the case's numbers by the oracle, without bias."""
    x, w, _ = rounded_draws(case, dtype)
    return reference.convolve(x, w, **case.for_oracle)


@functools.cache
def size_of_terms(case, dtype="float64"):
    """For each output value, the sum of |x| |w| over its terms."""
    x, w, _ = (np.abs(wide(values)) for values in rounded_draws(case, dtype))
    return reference.convolve(x, w, **case.for_oracle)


def wide(values):
    values = np.asarray(values)
    return values.astype(np.complex128 if np.iscomplexobj(values) or values.dtype.kind == "c" else np.float64)


def sum_bound(sizes, terms, dtype, *kept):
    """How far a sum of `terms` products may be from the exact one, added in any order.

    `sizes` are the sums of |x| |w|. Products and sums are of the accumulation dtype (float32 for the 16-bit types), and
    each of the at most `terms` roundings that a product undergoes is at most u = eps / 2 of what has been added up, so
    that the error is at most terms * u / (1 - terms * u) * sizes (Higham 2002, section 3.1). Twice that leaves room for
    the float64 rounding of the oracle itself; a complex product has an error of up to 2 sqrt(2) u (section 3.6), hence
    the factor 4. A 16-bit result is rounded once more at each of the exact values `kept`, by u of its size.
    """
    info = jnp.finfo(dtype)
    accumulated = float(jnp.finfo(jnp.float32).eps) if info.bits < 32 else float(info.eps)
    factor = 4 if jnp.issubdtype(dtype, jnp.complexfloating) else 1
    bound = factor * (terms + 2) * accumulated * sizes
    for value in kept if info.bits < 32 else ():
        bound = bound + float(info.eps) / 2 * (np.abs(value) + bound)
    return bound + float(info.tiny)


def assert_within(ours, exact, bound):
    """The largest difference, in units of the bound, is at most one."""
    ours, exact = wide(ours), wide(exact)
    assert ours.shape == exact.shape
    excess = np.max(np.abs(ours - exact) / bound, initial=0.0)
    assert excess <= 1, f"{excess:.3g} times the bound of rounding errors"


def terms_of_output(case):
    """At most this many products are added up for one output value."""
    return int(np.prod(case.w[:-1])) + 1


def exact_gradients(x, w, y, settings):
    """The oracle's gradients of <conv(x, w), y> by x and by w."""
    return (
        reference.input_gradient(x.shape, w, y, **settings),
        reference.weight_gradient(x, w.shape, y, **settings),
    )


def gradient_bounds(x, w, y, settings, dtype="float64"):
    """Bounds of the rounding errors of the two gradients, each a sum of products |w| |y| or |x| |y|."""
    by_x, by_w = exact_gradients(*(np.abs(wide(values)) for values in (x, w, y)), settings)
    exact_by_x, exact_by_w = exact_gradients(x, w, y, settings)
    terms_x = int(np.prod(w.shape[:-2])) * w.shape[-1]
    terms_w = int(np.prod(y.shape[:-1]))
    copies = []
    if settings.get("padding") in ("CIRCULAR", "EDGE", "REFLECT"):
        # The copies of a pixel are rounded, then added up in `dtype`: one rounding for each copy along each axis.
        pads = pads_by_hand(x.shape[1:-1], w.shape[:-2], settings)
        edge = settings["padding"] == "EDGE"
        copies = [by_x] * sum(
            n if edge else -(-n // size) for size, pair in zip(x.shape[1:-1], pads, strict=True) for n in pair
        )
    return sum_bound(by_x, terms_x, dtype, exact_by_x, *copies), sum_bound(by_w, terms_w, dtype, exact_by_w)


@st.composite
def axes(draw, spatial):
    """Sizes, kernel, stride, padding and dilation that fit, one entry an axis."""
    size = tuple(draw(st.integers(1, 6 if spatial < 3 else 3)) for _ in range(spatial))
    kernel = tuple(draw(st.integers(1, 3 if spatial < 3 else 2)) for _ in range(spatial))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(spatial))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(spatial))
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    kinds = ["SAME", "SAME_LOWER", "CIRCULAR", "EDGE", "pairs"]
    if all(e <= n for e, n in zip(extent, size, strict=True)):
        kinds.append("VALID")
    if all(e // 2 < n for e, n in zip(extent, size, strict=True)):
        kinds.append("REFLECT")
    if spatial == 1:
        kinds.append("CAUSAL")
    padding = draw(st.sampled_from(kinds))
    if padding == "pairs":
        pairs = []
        for n, e in zip(size, extent, strict=True):
            before = draw(st.integers(0, 3))
            pairs.append((before, draw(st.integers(max(0, e - n - before), max(0, e - n - before) + 2))))
        padding = tuple(pairs)
    return size, kernel, {"stride": stride, "padding": padding, "dilation": dilation}


@st.composite
def convolutions(draw, spatial):
    """A `Case` of `spatial` axes, with groups or a table or neither."""
    size, kernel, settings = draw(axes(spatial))
    link = draw(st.sampled_from(["full", "groups", "table"]))
    if link == "groups":
        groups = draw(st.integers(1, 3))
        in_group, out_group = draw(st.integers(1, 2)), draw(st.integers(1, 2))
        c_in, slices, c_out = groups * in_group, in_group, groups * out_group
        settings = {**settings, "groups": groups}
    else:
        c_in, c_out = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        slices = c_in
    table = None
    if link == "table":
        bits = draw(st.lists(st.booleans(), min_size=c_in * c_out, max_size=c_in * c_out))
        table = tables.ConnectionTable(np.reshape(bits, (c_in, c_out)))
    n = draw(st.integers(1, 2))
    return Case("drawn", (n, *size, c_in), (*kernel, slices, c_out), settings, table)


def pads_by_hand(size, kernel, settings):
    """The (before, after) pads of each axis, from the definition of each padding and from nothing in cnnjax."""
    padding = settings.get("padding", "VALID")
    pairs = []
    for axis, (n, k) in enumerate(zip(size, kernel, strict=True)):
        stride, dilation = settings.get("stride", 1), settings.get("dilation", 1)
        s = stride if isinstance(stride, int) else stride[axis]
        d = dilation if isinstance(dilation, int) else dilation[axis]
        reach = d * (k - 1)
        if padding == "VALID":
            pair = (0, 0)
        elif padding == "CAUSAL":
            pair = (reach, 0)
        elif padding in ("CIRCULAR", "EDGE", "REFLECT"):
            pair = (reach // 2, reach - reach // 2)
        elif padding in ("SAME", "SAME_LOWER"):
            total = max(0, (n - 1) // s * s + reach + 1 - n)  # from the first pixel to the end of the last window
            pair = (total // 2, (total + 1) // 2)
            pair = pair if padding == "SAME" else pair[::-1]
        else:
            entry = padding if isinstance(padding, int) else padding[axis]
            pair = (entry, entry) if isinstance(entry, int) else entry
        pairs.append(pair)
    return pairs


def product(**options):
    """Every combination of the options, as a list of dicts."""
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]
