"""Invalid settings of every public function: the exception, its message, and that it is raised before any tracing.

Each entry says what the message must hold: the call and the argument, the offending value, what was expected, the fix.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import connections as tables
from cnnjax.errors import CnnjaxError

X1, W1 = np.ones((2, 8, 3)), np.ones((3, 3, 4))
X, W, B = np.ones((2, 8, 9, 3)), np.ones((3, 3, 3, 4)), np.ones((4,))
X3, W3 = np.ones((1, 4, 5, 6, 2)), np.ones((2, 2, 2, 2, 3))
Y = np.ones((2, 5, 5, 4))
WD, WP, WL = np.ones((3, 3, 3, 2)), np.ones((1, 1, 6, 5)), np.ones((6, 7, 3, 3, 3, 4))
F32 = np.float32


@dataclass(frozen=True)
class Bad:
    call: Any
    arrays: tuple
    error: type
    says: tuple
    settings: dict = field(default_factory=dict)

    @property
    def name(self):
        return self.call.__name__


c1, c2, c3, ct = cnnjax.conv1d, cnnjax.conv2d, cnnjax.conv3d, cnnjax.conv2d_transpose
ct1, ct3 = cnnjax.conv1d_transpose, cnnjax.conv3d_transpose
dw, sep, loc = cnnjax.depthwise_conv2d, cnnjax.separable_conv2d, cnnjax.local_conv2d
mx, av, lp, sub = cnnjax.max_pool2d, cnnjax.avg_pool2d, cnnjax.lp_pool2d, cnnjax.subsample2d
V, T = ValueError, TypeError


def ones(*shape, dtype=float):
    return np.ones(shape, dtype)


BAD = {
    # x and w
    "x none": Bad(c2, (None, W), T, ("`x` is None", "a JAX or NumPy array", "pass an array")),
    "x list": Bad(c2, ([[1.0]], W), T, ("`x` is a list of 1 items", "array", "jnp.asarray(x)")),
    "w list": Bad(c1, (X1, [1.0, 2.0]), T, ("`w` is a list of 2 items", "array", "jnp.asarray(w)")),
    "b number": Bad(c2, (X, W, 0.5), T, ("`b` is 0.5", "array", "jnp.asarray(b)")),
    "x text": Bad(c2, ("image.png", W), T, ("`x` is 'image.png'", "array", "pass an array")),
    "x only looks like an array": Bad(
        c2,
        (jax.ShapeDtypeStruct((8, 9, 3), F32), W),
        T,
        ("`x` is an object of type", "ShapeDtypeStruct", "convert it first"),
    ),
    "integer image": Bad(
        c2,
        (X.astype(np.uint8), W),
        T,
        ("`x` is an array of shape (2, 8, 9, 3) and dtype uint8", "floating or complex dtype", "x.astype(jnp.float32)"),
    ),
    "boolean image and weights": Bad(
        c2, (X > 0, W > 0), T, ("`x` is", "dtype bool", "a floating or complex dtype, or integers throughout")
    ),
    "integer weights": Bad(
        c2, (X, W.astype(int)), T, ("`w` is", "int64", "floating or complex dtype, as the others", "w.astype")
    ),
    "integers of two sizes": Bad(
        c1, (X1.astype(np.int8), W1.astype(np.int32)), T, ("`w` is of dtype int32", "int8, the dtype of x")
    ),
    "integers by a transform": Bad(
        c2,
        (X.astype(int), W.astype(int)),
        V,
        ("`method` is 'winograd2', which does not serve this call: it transforms, and integers do not stay integers",),
        {"method": "winograd2"},
    ),
    "integers by the FFT": Bad(
        c1,
        (X1.astype(int), W1.astype(int)),
        V,
        ("'fft'", "integers do not stay integers", '"im2col"'),
        {"method": "fft"},
    ),
    "narrower integers": Bad(
        c2,
        (X.astype(np.int32), W.astype(np.int32)),
        T,
        ("`preferred_element_type` is int8", "a signed integer or floating dtype at least as wide as int32"),
        {"preferred_element_type": np.int8},
    ),
    "unsigned result of signed integers": Bad(
        c2,
        (X.astype(np.int8), W.astype(np.int8)),
        T,
        ("`preferred_element_type` is uint32", "a signed integer or floating dtype"),
        {"preferred_element_type": np.uint32},
    ),
    "complex result of unsigned integers": Bad(
        c2,
        (X.astype(np.uint8), W.astype(np.uint8)),
        T,
        ("`preferred_element_type` is complex64", "an integer or floating dtype at least as wide as uint8"),
        {"preferred_element_type": np.complex64},
    ),
    "boolean weights": Bad(c2, (X, W > 0), T, ("`w` is", "dtype bool", "floating", "w.astype(jnp.float32)")),
    "integer bias": Bad(c3, (X3, W3, np.ones(3, int)), T, ("`b` is", "int", "b.astype(jnp.float32)")),
    "mixed dtypes": Bad(
        c2, (X, W.astype(F32)), T, ("`w` is of dtype float32", "float64, the dtype of x", "w.astype(x.dtype)")
    ),
    "mixed bias": Bad(
        c2, (X, W, B.astype(np.float16)), T, ("`b` is of dtype float16", "float64, the dtype of x", "b.astype(x.dtype)")
    ),
    "x without maps": Bad(
        c2, (ones(8, 9), W), V, ("`x` is", "(8, 9)", "axes (N, H, W, C_in) or (H, W, C_in)", "x[..., None]")
    ),
    "x with too many axes": Bad(
        c2,
        (ones(1, 2, 8, 9, 3), W),
        V,
        ("`x` is", "(1, 2, 8, 9, 3)", "axes (N, H, W, C_in) or (H, W, C_in)", "jax.vmap"),
    ),
    "sequence without maps": Bad(
        c1, (ones(8), W1), V, ("`x` is", "(8,)", "axes (N, L, C_in) or (L, C_in)", "x[..., None]")
    ),
    "volume without maps": Bad(c3, (ones(4, 5, 6), W3), V, ("`x` is", "axes (N, D, H, W, C_in) or (D, H, W, C_in)")),
    "w without maps": Bad(
        c2, (X, ones(3, 3)), V, ("`w` is", "(3, 3)", "4 axes (k_h, k_w, C_in / groups, C_out)", "reshape")
    ),
    "w of a sequence": Bad(c1, (X1, W), V, ("`w` is", "3 axes (k, C_in / groups, C_out)")),
    "w of a volume": Bad(c3, (X3, W), V, ("`w` is", "5 axes (k_d, k_h, k_w, C_in / groups, C_out)")),
    # maps
    "maps disagree": Bad(
        c2,
        (X, ones(3, 3, 5, 4)),
        V,
        (
            "`w` is an array of shape (3, 3, 5, 4) with 5 input maps",
            "3 = C_in at axis 2 of w, because x (2, 8, 9, 3) has C_in = 3 maps",
            "give w the shape (k_h, k_w, 3, C_out), or x 5 maps",
        ),
    ),
    "maps disagree, one image": Bad(
        c2, (X[0], ones(3, 3, 5, 4)), V, ("`w` is", "because x (8, 9, 3) has C_in = 3 maps")
    ),
    "maps disagree, sequence": Bad(
        c1, (X1, ones(3, 5, 4)), V, ("`w` is", "at axis 1 of w", "give w the shape (k, 3, C_out)")
    ),
    "x is NCHW": Bad(
        c2,
        (ones(2, 3, 8, 9), W),
        V,
        ("`w` is", "has C_in = 9 maps", "x looks like NCHW (channels first): pass jnp.transpose(x, (0, 2, 3, 1))"),
    ),
    "x is CHW": Bad(
        c2, (ones(3, 8, 9), W), V, ("`w` is", "x looks like CHW (channels first): pass jnp.transpose(x, (1, 2, 0))")
    ),
    "x is NCL": Bad(c1, (ones(2, 3, 8), W1), V, ("`w` is", "x looks like NCL", "jnp.transpose(x, (0, 2, 1))")),
    "x is NCDHW": Bad(
        c3, (ones(1, 2, 4, 5, 6), W3), V, ("`w` is", "x looks like NCDHW", "jnp.transpose(x, (0, 2, 3, 4, 1))")
    ),
    "w is OIHW": Bad(
        c2,
        (X, ones(4, 3, 5, 5)),
        V,
        ("`w` is", "w looks like OIHW (output maps first): pass jnp.transpose(w, (2, 3, 1, 0))"),
    ),
    "both are channels first": Bad(
        c2,
        (ones(2, 3, 8, 9), ones(6, 3, 5, 5)),
        V,
        (
            "`w` is",
            "x looks like NCHW and w looks like OIHW",
            "jnp.transpose(x, (0, 2, 3, 1)) and jnp.transpose(w, (2, 3, 1, 0))",
        ),
    ),
    "x is NCHW, with groups": Bad(
        c2, (ones(2, 4, 9, 9), ones(3, 3, 2, 4)), V, ("`groups` is 2", "C_in = 9", "x looks like NCHW"), {"groups": 2}
    ),
    "no maps at all": Bad(
        c2,
        (ones(2, 8, 9, 0), ones(3, 3, 0, 4)),
        V,
        ("`x` is", "(2, 8, 9, 0)", "at least one pixel and one map", "sliced"),
    ),
    "no rows": Bad(c2, (ones(2, 0, 9, 3), W), V, ("`x` is", "(2, 0, 9, 3)", "at least one pixel and one map")),
    "no output maps": Bad(c2, (X, ones(3, 3, 3, 0)), V, ("`w` is", "(3, 3, 3, 0)", "at least one pixel and one map")),
    "a kernel without taps": Bad(
        c2, (X, ones(0, 3, 3, 4)), V, ("`w` is", "(0, 3, 3, 4)", "at least one pixel and one map")
    ),
    # bias
    "bias of one": Bad(
        c2,
        (X, W, ones(1)),
        V,
        ("`b` is", "(1,)", "shape (4,), one bias for each output map", "pass a bias of shape (4,)"),
    ),
    "bias of the input maps": Bad(c2, (X, W, ones(3)), V, ("`b` is", "(3,)", "shape (4,)")),
    "bias column": Bad(c2, (X, W, ones(4, 1)), V, ("`b` is", "(4, 1)", "shape (4,)", "b.reshape((4,))")),
    "bias scalar": Bad(c2, (X, W, np.float64(1)), V, ("`b` is", "shape ()", "shape (4,)")),
    "bias of a transpose": Bad(
        ct, (Y, W, B), V, ("`b` is", "(4,)", "shape (3,), one bias for each map of the result, C_in")
    ),
    "bias of local maps": Bad(loc, (X, WL, B), V, ("`b` is", "(4,)", "shape (6, 7, 4), one bias for each value")),
    # stride, dilation, groups
    "stride 0": Bad(
        c2,
        (X, W),
        V,
        ("`stride` is 0", "an integer of at least 1, or 2 of them", "use stride=1 or more"),
        {"stride": 0},
    ),
    "stride 0 along one axis": Bad(c2, (X, W), V, ("`stride` is (1, 0)", "at least 1"), {"stride": (1, 0)}),
    "negative stride": Bad(c1, (X1, W1), V, ("`stride` is -2", "an integer of at least 1. Fix"), {"stride": -2}),
    "stride 1.5": Bad(c2, (X, W), T, ("`stride` is 1.5", "an integer of at least 1"), {"stride": 1.5}),
    "stride 2.0": Bad(c3, (X3, W3), T, ("`stride` is 2.0", "or 3 of them, one for each axis"), {"stride": 2.0}),
    "stride true": Bad(c2, (X, W), T, ("`stride` is True", "an integer"), {"stride": True}),
    "stride none": Bad(c2, (X, W), T, ("`stride` is None", "an integer"), {"stride": None}),
    "three strides": Bad(c2, (X, W), V, ("`stride` is (1, 1, 1) (3 entries)", "2 of them"), {"stride": (1, 1, 1)}),
    "stride array": Bad(
        c2, (X, W), T, ("`stride` is an array of shape (2,)", "2 of them"), {"stride": np.array([1, 2])}
    ),
    "dilation 0": Bad(c2, (X, W), V, ("`dilation` is 0", "at least 1"), {"dilation": 0}),
    "dilation 2.0": Bad(c1, (X1, W1), T, ("`dilation` is 2.0", "an integer"), {"dilation": 2.0}),
    "groups 0": Bad(c2, (X, W), V, ("`groups` is 0", "at least 1"), {"groups": 0}),
    "groups 1.0": Bad(c2, (X, W), T, ("`groups` is 1.0", "an integer"), {"groups": 1.0}),
    "groups that do not divide the input": Bad(
        c2,
        (X, ones(3, 3, 1, 4)),
        V,
        (
            "`groups` is 2",
            "a divisor of both C_in = 3 and C_out = 4",
            "use groups that divide both, or a ConnectionTable",
        ),
        {"groups": 2},
    ),
    "groups that do not divide the output": Bad(
        c2, (X, ones(3, 3, 1, 4)), V, ("`groups` is 3", "C_out = 4"), {"groups": 3}
    ),
    "weights without groups": Bad(
        c2,
        (ones(8, 9, 4), ones(3, 3, 4, 4)),
        V,
        ("`w` is", "2 = C_in / groups = 4 / 2 at axis 2 of w", "Fix: give w the shape (k_h, k_w, 2, C_out)"),
        {"groups": 2},
    ),
    # padding
    "padding in lower case": Bad(
        c2, (X, W), V, ("`padding` is 'same'", "one of VALID, SAME", 'write "SAME"'), {"padding": "same"}
    ),
    "padding misspelt": Bad(
        c2, (X, W), V, ("`padding` is 'SAEM'", "one of VALID, SAME", 'use "SAME" to keep the size'), {"padding": "SAEM"}
    ),
    "padding causal in two dimensions": Bad(
        c2, (X, W), V, ("`padding` is 'CAUSAL'", "one of VALID", "use conv1d"), {"padding": "CAUSAL"}
    ),
    "causal in lower case": Bad(
        c1, (X1, W1), V, ("`padding` is 'causal'", "REFLECT, CAUSAL", 'write "CAUSAL"'), {"padding": "causal"}
    ),
    "padding none": Bad(
        c2,
        (X, W),
        T,
        ("`padding` is None", "one of VALID", 'padding="SAME", padding=1 or padding=((1, 1), (1, 1))'),
        {"padding": None},
    ),
    "padding 1.0": Bad(
        c1, (X1, W1), T, ("`padding` is 1.0", "an integer of at least 0", "padding=((1, 1),)"), {"padding": 1.0}
    ),
    "padding true": Bad(c2, (X, W), T, ("`padding` is True", "an integer of at least 0"), {"padding": True}),
    "negative padding": Bad(
        c2, (X, W), V, ("`padding` is -1", "at least 0", "to crop, slice x before the call"), {"padding": -1}
    ),
    "negative padding on one side": Bad(
        c2, (X, W), V, ("`padding` is ((0, 0), (1, -1))", "at least 0", "slice x"), {"padding": ((0, 0), (1, -1))}
    ),
    "one pair for two axes": Bad(
        c2,
        (X, W),
        V,
        ("`padding` is ((1, 1),)", "a (before, after) pair for each axis", "((1, 1), (1, 1))"),
        {"padding": ((1, 1),)},
    ),
    "a triple": Bad(
        c2, (X, W), V, ("`padding` is ((1, 1, 1), (1, 1))", "a (before, after) pair"), {"padding": ((1, 1, 1), (1, 1))}
    ),
    "padding of floats": Bad(
        c2, (X, W), T, ("`padding` is ((1.0, 1), (1, 1))", "a (before, after) pair"), {"padding": ((1.0, 1), (1, 1))}
    ),
    "mirror beyond the image": Bad(
        c2,
        (ones(2, 4, 1), ones(5, 1, 1, 1)),
        V,
        (
            "`padding` is 'REFLECT', which needs 2 mirrored pixels along H",
            "at most 1, because the input has 2",
            "CIRCULAR",
        ),
        {"padding": "REFLECT"},
    ),
    # fit
    "kernel larger than the image": Bad(
        c2,
        (ones(2, 9, 3), W),
        V,
        (
            "`w` is a kernel of (3, 3), 3 pixels along H",
            "at most 2, the padded input's size along H (2 + 0 + 0)",
            'use a smaller kernel or dilation, a larger input, or padding="SAME"',
        ),
    ),
    "kernel larger than the padded image": Bad(
        c1,
        (ones(2, 3), ones(6, 3, 1)),
        V,
        ("`w` is a kernel of (6,), 6 pixels along L", "at most 4", "(2 + 1 + 1)"),
        {"padding": 1},
    ),
    "dilated kernel larger than the image": Bad(
        c2, (X, W), V, ("`w` is a kernel of (3, 3) (dilated by (4, 4)), 9 pixels along H", "at most 8"), {"dilation": 4}
    ),
    "volume too shallow": Bad(c3, (ones(1, 5, 6, 2), W3), V, ("2 pixels along D", "at most 1")),
    # connections
    "table of another size": Bad(
        c2,
        (X, W),
        V,
        ("`connections` is a table of shape (6, 16)", "(C_in, C_out) = (3, 4), as w (3, 3, 3, 4) has", "resize it"),
        {"connections": tables.LENET5_C3},
    ),
    "table the other way round": Bad(
        c2,
        (X, W),
        V,
        ("`connections` is a table of shape (4, 3)", "(C_in, C_out) = (3, 4)", "transpose the table"),
        {"connections": ones(4, 3, dtype=bool)},
    ),
    "table of one column": Bad(
        c2, (X, W), V, ("`connections` is a table of shape (3, 1)", "(3, 4)"), {"connections": ones(3, 1, dtype=bool)}
    ),
    "float table": Bad(
        c2,
        (X, W),
        T,
        (
            "`connections` is an array of shape (3, 4) and dtype float64",
            "a ConnectionTable or a boolean array",
            "pass table > 0",
        ),
        {"connections": ones(3, 4)},
    ),
    "integer table": Bad(
        c2, (X, W), T, ("`connections` is", "int8", "boolean"), {"connections": ones(3, 4, dtype=np.int8)}
    ),
    "table as a list": Bad(
        c1, (X1, W1), T, ("`connections` is a list of 3 items", "boolean array"), {"connections": [[True] * 4] * 3}
    ),
    "table and groups": Bad(
        c2,
        (ones(8, 9, 4), ones(3, 3, 2, 4)),
        V,
        ("`connections` is given together with groups=2", "one of the two", "connections.grouped"),
        {"groups": 2, "connections": tables.grouped(4, 4, 2)},
    ),
    # method and dtype of the result
    "unknown method": Bad(
        c2,
        (X, W),
        V,
        ("`method` is 'winograd!'", '"auto", "definition", "lax"', 'method="auto"'),
        {"method": "winograd!"},
    ),
    "method none": Bad(c3, (X3, W3), T, ("`method` is None", '"auto"'), {"method": None}),
    "narrower result": Bad(
        c2,
        (X, W),
        T,
        ("`preferred_element_type` is float32", "a floating dtype at least as wide as float64", "cast the result"),
        {"preferred_element_type": jnp.float32},
    ),
    "integer result": Bad(
        c2, (X, W), T, ("`preferred_element_type` is int64", "a floating dtype"), {"preferred_element_type": int}
    ),
    "complex result of real arrays": Bad(
        c2,
        (X, W),
        T,
        ("`preferred_element_type` is complex128", "a floating dtype"),
        {"preferred_element_type": complex},
    ),
    "real result of complex arrays": Bad(
        c2,
        (X + 0j, W + 0j),
        T,
        ("`preferred_element_type` is float64", "a complex dtype"),
        {"preferred_element_type": float},
    ),
    "no dtype": Bad(
        c2, (X, W), T, ("`preferred_element_type` is 'wide'", "a floating dtype"), {"preferred_element_type": "wide"}
    ),
    # conv2d_transpose
    "transpose, y none": Bad(ct, (None, W), T, ("`y` is None", "array")),
    "transpose, wrong maps": Bad(
        ct,
        (ones(5, 5, 3), W),
        V,
        (
            "`y` is",
            "(5, 5, 3)",
            "C_out = 4 maps in its last axis, as w (3, 3, 3, 4) has",
            "do not swap its last axes",
        ),
    ),
    "transpose, wrong rank": Bad(
        ct, (ones(5, 5), W), V, ("`y` is", "axes (N, H, W, C_out) or (H, W, C_out)", "y[..., None]")
    ),
    "transpose, w rank": Bad(ct, (Y, W[0]), V, ("`w` is", "4 axes (k_h, k_w, C_in / groups, C_out)")),
    "transpose, no rows": Bad(ct, (ones(2, 0, 5, 4), W), V, ("`y` is", "(2, 0, 5, 4)", "at least one pixel")),
    "transpose, dtypes": Bad(ct, (Y, W.astype(F32)), T, ("`w` is of dtype float32", "float64, the dtype of y")),
    "transpose, groups": Bad(ct, (Y, W), V, ("`groups` is 3", "C_out = 4"), {"groups": 3}),
    "transpose, stride 0": Bad(ct, (Y, W), V, ("`stride` is 0", "at least 1"), {"stride": 0}),
    "transpose, output padding of a stride": Bad(
        ct,
        (Y, W),
        V,
        ("`output_padding` is 2", "less than the stride 2", "use 0 to 1"),
        {"stride": 2, "output_padding": 2},
    ),
    "transpose, output padding without stride": Bad(
        ct, (Y, W), V, ("`output_padding` is 1", "less than the stride 1", "leave it out"), {"output_padding": 1}
    ),
    "transpose, output padding of a dilation": Bad(
        ct,
        (Y, W),
        V,
        ("`output_padding` is 3", "less than the dilation 3", "use 0 to 2"),
        {"stride": 2, "dilation": 3, "output_padding": 3},
    ),
    "transpose of a sequence, wrong maps": Bad(
        ct1,
        (X1, W1),
        V,
        ("conv1d_transpose: `y` is", "w keeps the shape it has in conv1d: (k, C_in / groups, C_out)"),
    ),
    "transpose of a volume, wrong rank": Bad(
        ct3, (X3, W), V, ("conv3d_transpose: `w` is", "(k_d, k_h, k_w, C_in / groups, C_out)")
    ),
    "transpose of booleans": Bad(ct, (Y > 0, W > 0), T, ("`y` is", "dtype bool", "or integers throughout")),
    "transpose, integer weights": Bad(ct, (Y, W.astype(int)), T, ("`w` is", "int64", "w.astype(jnp.float32)")),
    "transpose, narrower result": Bad(
        ct, (Y, W), T, ("`preferred_element_type` is float32", "a floating dtype"), {"preferred_element_type": F32}
    ),
    "transpose, negative output padding": Bad(
        ct, (Y, W), V, ("`output_padding` is -1", "at least 0"), {"stride": 2, "output_padding": -1}
    ),
    "transpose, output padding 0.5": Bad(
        ct, (Y, W), T, ("`output_padding` is 0.5", "an integer"), {"output_padding": 0.5}
    ),
    "transpose, too much padding": Bad(
        ct,
        (ones(1, 1, 4), W),
        V,
        ("`padding` is 2", "less padding", "the size (-1, -1)", "use a smaller padding"),
        {"padding": 2},
    ),
    "transpose, unknown padding": Bad(ct, (Y, W), V, ("`padding` is 'valid'", 'write "VALID"'), {"padding": "valid"}),
    "transpose, mirror beyond the image": Bad(
        ct, (ones(1, 1, 4), W), V, ("`padding` is 'REFLECT'", "1 mirrored pixels"), {"padding": "REFLECT"}
    ),
    "transpose, table of another size": Bad(
        ct,
        (Y, W),
        V,
        ("`connections` is a table of shape (6, 16)", "(C_in, C_out) = (3, 4), as w (3, 3, 3, 4) has", "resize it"),
        {"connections": tables.LENET5_C3},
    ),
    "transpose, table the other way round": Bad(
        ct,
        (Y, W),
        V,
        ("`connections` is a table of shape (4, 3)", "(C_in, C_out) = (3, 4)", "transpose the table"),
        {"connections": ones(4, 3, dtype=bool)},
    ),
    "transpose, float table": Bad(
        ct, (Y, W), T, ("`connections` is", "float64", "a boolean array", "pass table > 0"), {"connections": ones(3, 4)}
    ),
    "transpose, table and groups": Bad(
        ct,
        (Y, ones(3, 3, 2, 4)),
        V,
        ("`connections` is given together with groups=2", "one of the two", "connections.grouped"),
        {"groups": 2, "connections": tables.grouped(4, 4, 2)},
    ),
    "transpose, unknown method": Bad(
        ct, (Y, W), V, ("`method` is 'fastest'", '"auto", "definition", "lax"', 'method="auto"'), {"method": "fastest"}
    ),
    "transpose, method none": Bad(ct, (Y, W), T, ("`method` is None", '"auto"'), {"method": None}),
    "transpose, method that does not serve": Bad(
        ct,
        (Y, W),
        V,
        ("`method` is 'depthwise', which does not serve this call", '"definition", "lax"', 'use method="auto"'),
        {"method": "depthwise"},
    ),
    # depthwise, separable, local
    "depthwise, maps": Bad(
        dw,
        (X, ones(3, 3, 2, 2)),
        V,
        (
            "`w` is",
            "(3, 3, 2, 2)",
            "shape (k_h, k_w, 3, m), because x (2, 8, 9, 3) has C_in = 3 maps",
            "use conv2d if maps are to be added",
        ),
    ),
    "depthwise, flat maps": Bad(
        dw, (X[0], ones(3, 3, 1, 4)), V, ("`w` is", "(3, 3, 1, 4)", "because x (8, 9, 3) has C_in = 3 maps")
    ),
    "depthwise, bias": Bad(dw, (X, WD, ones(3)), V, ("`b` is", "shape (6,)")),
    "depthwise, rank": Bad(dw, (X, ones(3, 3, 3)), V, ("`w` is", "4 axes (k_h, k_w, C_in, m)")),
    "depthwise, dtypes": Bad(dw, (X, WD.astype(F32)), T, ("`w` is of dtype float32", "the dtype of x")),
    "depthwise, stride": Bad(dw, (X, WD), V, ("`stride` is 0", "at least 1"), {"stride": 0}),
    "separable, w_pointwise larger": Bad(
        sep, (X, WD, ones(3, 3, 6, 5)), V, ("`w_pointwise` is", "a 1 x 1 kernel", "depthwise_conv2d and conv2d")
    ),
    "separable, maps between": Bad(
        sep,
        (X, WD, ones(1, 1, 5, 5)),
        V,
        ("`w_pointwise` is", "(1, 1, 5, 5)", "shape (1, 1, 6, C_out)", "C_in * m = 6"),
    ),
    "separable, maps": Bad(sep, (X, ones(3, 3, 2, 2), WP), V, ("`w_depthwise` is", "shape (k_h, k_w, 3, m)")),
    "separable, rank": Bad(sep, (X, ones(3, 3, 3), WP), V, ("`w_depthwise` is", "4 axes (k_h, k_w, C_in, m)")),
    "separable, kernel too large": Bad(
        sep, (ones(2, 9, 3), WD, WP), V, ("`w_depthwise` is a kernel of (3, 3)", "at most 2")
    ),
    "separable, bias": Bad(sep, (X, WD, WP, ones(1)), V, ("`b` is", "(1,)", "shape (5,)")),
    "separable, dtypes": Bad(sep, (X, WD, WP.astype(F32)), T, ("`w_pointwise` is of dtype float32", "the dtype of x")),
    "separable, none": Bad(sep, (X, None, WP), T, ("`w_depthwise` is None", "array")),
    "local, positions": Bad(
        loc,
        (X, ones(3, 3, 3, 3, 3, 4)),
        V,
        ("`w` is", "(6, 7) = (H_out, W_out) in its first two axes", "give w the shape (6, 7, 3, 3, 3, 4)"),
    ),
    "local, rank": Bad(loc, (X, W), V, ("`w` is", "6 axes (H_out, W_out, k_h, k_w, C_in, C_out)")),
    "local, maps": Bad(
        loc,
        (X, ones(6, 7, 3, 3, 2, 4)),
        V,
        (
            "`w` is an array of shape (6, 7, 3, 3, 2, 4) with 2 input maps",
            "C_in = 3 at axis 4 of w",
            "(H_out, W_out, k_h, k_w, 3, C_out)",
        ),
    ),
    "local, dtypes": Bad(loc, (X, WL.astype(F32)), T, ("`w` is of dtype float32", "the dtype of x")),
    # pools
    "pool of integers": Bad(mx, (X.astype(int),), T, ("`x` is", "int", "floating", "x.astype")),
    "largest complex number": Bad(mx, (X + 0j,), T, ("`x` is", "complex128", "no order", "jnp.abs(x)")),
    "norm of complex numbers": Bad(lp, (X + 0j,), T, ("`x` is", "complex128", "a real dtype", "jnp.abs(x)")),
    "pool without maps": Bad(av, (ones(8, 9),), V, ("`x` is", "axes (N, H, W, C) or (H, W, C)", "x[..., None]")),
    "pool of nothing": Bad(
        av, (ones(8, 0, 3),), V, ("`x` is an array of shape (8, 0, 3)", "at least one pixel and one map")
    ),
    "window 0": Bad(mx, (X, 0), V, ("`window` is 0", "an integer of at least 1")),
    "window 2.0": Bad(av, (X, 2.0), T, ("`window` is 2.0", "an integer")),
    "window larger than the image": Bad(
        mx, (X, (9, 2)), V, ("`window` is a window of (9, 2), 9 pixels along H", "at most 8", "use a smaller window")
    ),
    "pool stride 0": Bad(mx, (X,), V, ("`stride` is 0", "at least 1"), {"stride": 0}),
    "padding of a whole window": Bad(
        mx,
        (X, 2),
        V,
        ("`padding` is 2", "less than the window (2, 2), so that every window sees some of the image", "use at most 1"),
        {"padding": 2},
    ),
    "pool padding misspelt": Bad(av, (X, 2), V, ("`padding` is 'same'", 'write "SAME"'), {"padding": "same"}),
    "p below 1": Bad(lp, (X,), V, ("`p` is 0.5", "a finite number of at least 1", "p=1 or more"), {"p": 0.5}),
    "p infinite": Bad(lp, (X,), V, ("`p` is inf", "finite", "use max_pool2d"), {"p": float("inf")}),
    "p not a number": Bad(lp, (X,), V, ("`p` is nan", "finite", "p=1 or more"), {"p": float("nan")}),
    "p text": Bad(lp, (X,), T, ("`p` is '2'", "a number of at least 1"), {"p": "2"}),
    "p true": Bad(lp, (X,), T, ("`p` is True", "a number"), {"p": True}),
    "sub-sampling, weights": Bad(
        sub, (X, ones(1)), V, ("`w` is", "(1,)", "shape (3,), one weight for each of the 3 maps of x")
    ),
    "sub-sampling, weights rank": Bad(sub, (X, ones(3, 1)), V, ("`w` is", "(3, 1)", "1 axis (C)")),
    "sub-sampling, bias": Bad(sub, (X, ones(3), ones(1)), V, ("`b` is", "(1,)", "shape (3,)")),
    "sub-sampling, dtypes": Bad(sub, (X, ones(3, dtype=F32)), T, ("`w` is of dtype float32", "the dtype of x")),
    "sub-sampling, none": Bad(sub, (X, None), T, ("`w` is None", "array")),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_setting_that_does_not_fit_is_refused_in_the_words_of_the_user(bad):
    with pytest.raises(bad.error) as refused:
        bad.call(*bad.arrays, **bad.settings)
    text = str(refused.value)
    assert isinstance(refused.value, CnnjaxError)
    assert re.fullmatch(rf"{bad.name}: `\w+` is .+; expected .+\. Fix: .+\.", text)
    for words in bad.says:
        assert words in text
    assert "Tracer" not in text
    assert text.count("\n") == 0
    assert len(text) < 450


@pytest.mark.parametrize(
    "transform", [jax.jit, lambda f: lambda *args: jax.eval_shape(f, *args)], ids=["jit", "eval_shape"]
)
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_under_a_transformation_the_error_is_the_same(bad, transform):
    """Everything that is checked is known before any value is: shapes, dtypes and settings."""
    with pytest.raises(bad.error) as plain:
        bad.call(*bad.arrays, **bad.settings)
    is_array = [isinstance(value, (np.ndarray, np.generic)) for value in bad.arrays]
    traced = [value for value, yes in zip(bad.arrays, is_array, strict=True) if yes]

    def call(*arrays):
        arrays = iter(arrays)
        return bad.call(
            *(next(arrays) if yes else v for v, yes in zip(bad.arrays, is_array, strict=True)), **bad.settings
        )

    with pytest.raises(bad.error) as refused:
        transform(call)(*traced)
    assert type(refused.value) is type(plain.value)
    assert str(refused.value) == str(plain.value)


def test_the_list_covers_every_function():
    functions = {bad.call for bad in BAD.values()}
    assert functions == {c1, c2, c3, ct, ct1, ct3, dw, sep, loc, mx, av, lp, sub}


def test_a_torch_tensor_is_refused_because_its_gradient_would_be_lost():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"conv2d: `x` is an object of type torch.Tensor; .* jnp.from_dlpack\(x\)"):
        cnnjax.conv2d(torch.ones(8, 9, 3), W)


def test_a_traced_setting_is_refused():
    with pytest.raises(TypeError, match=r"`stride` is .*; expected an integer"):
        jax.jit(lambda x, w, s: cnnjax.conv2d(x, w, stride=s))(X, W, 2)


def test_what_can_pass_for_a_jax_array_may():
    class Wrapped:
        shape, dtype = X.shape, X.dtype

        def __jax_array__(self):
            return jnp.asarray(X)

    np.testing.assert_array_equal(cnnjax.conv2d(Wrapped(), W), cnnjax.conv2d(X, W))


def test_a_layout_is_guessed_only_where_it_is_the_likelier_reading():
    """3 x 3 kernels over RGB images also have a 3 where OIHW has its input maps."""

    def fix(x, w):
        with pytest.raises(ValueError, match=r"Fix: ") as refused:
            cnnjax.conv2d(np.ones(x), np.ones(w))
        return str(refused.value).split("Fix: ")[1]

    assert fix((8, 9, 3), (3, 3, 16, 32)).startswith("give w the shape (k_h, k_w, 3, C_out)")
    assert fix((8, 9, 3), (3, 3, 16, 16)).startswith("give w the shape (k_h, k_w, 3, C_out)")
    assert fix((8, 9, 3), (16, 3, 5, 5)).startswith("w looks like OIHW")
    assert fix((8, 9, 5), (5, 5, 3, 3)).startswith("w looks like OIHW")
