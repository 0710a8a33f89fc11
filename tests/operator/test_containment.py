"""One NaN or infinity, planted anywhere, reaches the results that read it and no other, whatever method is chosen.

Which results read an element follows from the definition along each axis: position p reads pixel i by tap t if
p stride + t dilation - before = i. Padding may be read or skipped: a NaN among the weights reaches at most the results
that read it on padding too.
"""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import BY_NAME, CONV, PLAIN, Case, convolutions, normal, spec_of
from hypothesis import given
from hypothesis import strategies as st

import cnnjax
from cnnjax.operator.choice import choose, compute
from cnnjax.operator.containment import is_finite
from cnnjax.operator.methods import BY_NAME as METHOD
from cnnjax.operator.spec import DIRECTIONS

OPERANDS = {"forward": "xw", "input_gradient": "wy", "weight_gradient": "xy"}
VALUES = (np.nan, np.inf, -np.inf)
# Shapes at which a rule of "auto" or a method changes: a band with surplus columns, folded strides, several blocks of
# groups, phases, many taps, parts of patches that overlap.
MORE = (
    Case("band with surplus columns", (1, 13, 13, 1), (3, 3, 1, 6), {}),
    Case("band of a sequence", (2, 29, 1), (5, 1, 6), {"padding": "SAME"}),
    Case("few maps, large stride", (1, 15, 14, 3), (7, 7, 3, 8), {"stride": 2, "padding": 3}),
    Case("wide maps, stride, same", (1, 7, 7, 16), (3, 3, 16, 16), {"stride": 2, "padding": "SAME"}),
    Case("many groups", (2, 6, 6, 64), (3, 3, 2, 64), {"groups": 32, "padding": "SAME"}),
    Case("depthwise", (2, 7, 6, 16), (3, 3, 1, 16), {"groups": 16, "padding": "SAME", "stride": 2}),
    Case("depthwise, seven maps", (2, 7, 6, 7), (3, 3, 1, 14), {"groups": 7, "padding": "SAME", "stride": (2, 1)}),
    Case("depthwise, many taps", (1, 12, 12, 2), (9, 9, 1, 4), {"groups": 2, "padding": "SAME", "stride": 2}),
    Case("one map, many taps", (1, 14, 15, 1), (9, 9, 1, 2), {"padding": "SAME"}),
    Case("sequence, many taps", (1, 90, 2), (70, 2, 3), {"padding": "CAUSAL"}),
    Case("patches in parts", (3, 150, 150, 3), (5, 5, 3, 2), {"padding": ((0, 0), (2, 2)), "stride": (2, 1)}),
    Case("patches of a volume", (1, 5, 6, 5, 2), (3, 3, 3, 2, 3), {"padding": "SAME", "stride": 2}),
)


def shapes(spec):
    return {"x": spec.x_shape, "w": spec.w_shape, "y": spec.y_shape}


def along_axis(axis, spec):
    """Whether position p reads pixel i by tap t along one axis, (p, t, i)."""
    geometry = spec.geometry
    p, t, i = np.ogrid[: geometry.output[axis], : geometry.kernel[axis], : geometry.size[axis]]
    return p * geometry.stride[axis] + t * geometry.dilation[axis] - geometry.pads[axis][0] == i


def reached(spec, planted, index, result, *, on_padding):
    """The boolean array of the results that read element `index` of the array named `planted`."""
    space = slice(None, -2) if planted == "w" else slice(1, -1)
    where = index[space]
    per_axis = []
    for axis, at in enumerate(where):
        reads = along_axis(axis, spec)
        # (positions, taps, pixels), with the planted element's own index taken and the third array's summed out
        taken = {"y": 0, "w": 1, "x": 2}
        chosen = np.moveaxis(reads, (taken[planted], taken[result]), (0, 1))[at].any(axis=-1)
        per_axis.append(chosen | (on_padding and "x" not in (planted, result)))
    space_of_result = np.ones((), bool)
    for chosen in per_axis:
        space_of_result = space_of_result[..., None] & chosen
    image, maps = maps_reached(spec, planted, index, result)
    if result == "w":
        return space_of_result[..., None, None] & maps
    return image.reshape(-1, *(1,) * len(where), 1) & space_of_result[..., None] & maps


def maps_reached(spec, planted, index, result):
    """Which images and which maps of the result read the planted element."""
    of_group, per_group = spec.maps_in_group, spec.c_out // spec.groups
    outputs, inputs = np.arange(spec.c_out), np.arange(spec.c_in)
    image = np.ones(spec.n, bool) if planted == "w" else np.arange(spec.n) == index[0]
    if (planted, result) == ("x", "y"):
        return image, outputs // per_group == index[-1] // of_group
    if (planted, result) == ("y", "x"):
        return image, inputs // of_group == index[-1] // per_group
    if (planted, result) == ("w", "y"):
        return image, outputs == index[-1]
    if (planted, result) == ("w", "x"):
        return image, inputs == index[-1] // per_group * of_group + index[-2]
    reads = (outputs // per_group)[None] * of_group + np.arange(of_group)[:, None]  # (C_in / groups, C_out)
    if planted == "x":
        return image, reads == index[-1]
    return image, np.broadcast_to(outputs == index[-1], reads.shape)


def check(spec, direction, platform, seed, count=3):
    """Plant `count` values one after the other in each operand, and compare the sets of what is not finite."""
    names = OPERANDS[direction]
    result = ({*"xwy"} - {*names}).pop()
    run = jax.jit(lambda a, b: compute(direction, a, b, spec, spec.dtype, platform))
    random = np.random.default_rng(seed)
    for which, name in enumerate(names):
        shape = shapes(spec)[name]
        for value in itertools.islice(itertools.cycle(VALUES), count):
            arrays = [normal(shapes(spec)[of], f"{seed}", spec.dtype) for of in names]
            index = tuple(int(random.integers(n)) for n in shape)
            arrays[which][index] = value
            found = ~np.isfinite(np.asarray(run(*arrays)).astype(complex))
            at_most = reached(spec, name, index, result, on_padding=True)
            at_least = reached(spec, name, index, result, on_padding=False)
            method = choose(direction, spec, platform).method
            assert not (found & ~at_most).any(), f"{method}: {value} at {name}{index} reaches what does not read it"
            assert not (at_least & ~found).any(), f"{method}: {value} at {name}{index} does not reach what reads it"


def distinct_methods(direction, case):
    """The platforms and dtypes that a case is checked for: one for each method that is chosen."""
    places = [("cpu", "float32"), ("stored cpu", "float32"), ("any cpu", "float64")]
    by_method = {choose(direction, spec_of(case, dtype), platform).method: (platform, dtype)
                 for platform, dtype in reversed(places)}  # fmt: skip
    return by_method.values()


@pytest.mark.parametrize(
    ("case", "direction", "platform", "dtype"),
    [
        pytest.param(case, direction, *place, id=f"{case.name}-{direction}-{place[0]}")
        for case in (*PLAIN, *MORE)
        for direction in DIRECTIONS
        for place in distinct_methods(direction, case)
    ],
)
def test_what_auto_chooses_keeps_every_value_to_its_readers(case, direction, platform, dtype):
    check(spec_of(case, dtype), direction, platform, case.name.encode()[0])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64", "complex128"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["groups, stride, same", "stride leaves a row over"])
def test_so_does_every_dtype(name, direction, dtype):
    for platform in ("cpu", "any cpu"):
        check(spec_of(BY_NAME[name], dtype), direction, platform, 1)


@pytest.mark.parametrize("method", [name for name in METHOD if name not in ("winograd2", "winograd4", "fft")])
def test_so_does_every_method_by_name_but_the_transforms(method):
    for case in (BY_NAME["groups, stride, same"], BY_NAME["stride leaves a row over"], MORE[0]):
        spec = replace(spec_of(case, "float32"), method=method)
        if METHOD[method].refuses(spec) is None:
            for direction in ("forward", "input_gradient"):
                check(spec, direction, "cpu", 2, count=2)


@given(st.data())
def test_so_does_any_convolution(data):
    case = data.draw(convolutions(data.draw(st.sampled_from(list(CONV)))))
    if case.settings["padding"] in ("CIRCULAR", "EDGE", "REFLECT"):
        case = replace(case, settings={**case.settings, "padding": "SAME"})
    platform, dtype = data.draw(st.sampled_from([("cpu", "float32"), ("any cpu", "float64")]))
    spec = spec_of(replace(case, table=None), dtype)
    check(spec, data.draw(st.sampled_from(DIRECTIONS)), platform, 3, count=1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("direction", ["x", "w"])
def test_under_vmap_an_example_with_nan_leaves_the_others_alone(dtype, direction):
    xs, ws = normal((4, 6, 6, 3), "x", dtype), normal((4, 3, 3, 3, 5), "w", dtype)
    (xs if direction == "x" else ws)[1] = np.nan
    conv = lambda x, w: cnnjax.conv2d(x, w, padding="SAME")  # noqa: E731
    loss = lambda x, w: jnp.sum(jnp.abs(conv(x, w)) ** 2)  # noqa: E731
    gradient = jax.vmap(jax.grad(loss, (0, 1)))(xs, ws)
    for result in (jax.vmap(conv)(xs, ws), *gradient):
        finite = np.isfinite(np.asarray(result)).reshape(4, -1)
        assert finite[[0, 2, 3]].all()
        assert not finite[1].all()


@pytest.mark.parametrize("shape", [(5, 5, 1, 6), (3, 3, 16, 32), (2, 40, 1), (1, 1), (4, 7, 3), (3, 20)])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16", "complex64"])
def test_finite_is_told_from_one_that_is_not(shape, dtype):
    a = normal(shape, "finite", dtype)
    assert jax.jit(is_finite)(a)
    for value in VALUES:
        bad = a.copy()
        bad.flat[len(bad.ravel()) // 2] = value
        assert not jax.jit(is_finite)(bad)
