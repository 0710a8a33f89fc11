"""Checks of the parameters given to a layer or a network; an error recognises the layouts of other libraries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from cnnjax._core.arguments import check_is_array
from cnnjax._core.messages import describe, type_error, value_error
from cnnjax.layers.base import Layer, Shape

__all__ = ["NamedLayer", "check_layer_params", "check_network_params", "name_layers", "statistics_of"]

_KEYS_OF_OTHERS = {"kernel": "w", "weight": "w", "weights": "w", "W": "w", "bias": "b", "biases": "b"}
_LIBRARIES = {"kernel": "flax and Keras", "weight": "PyTorch and Equinox"}

# Layouts of weights by their number of axes: the order of axes that turns one into ours.
_LAYOUTS: dict[int, tuple[tuple[str, tuple[int, ...]], ...]] = {
    2: (("(units, values of the input), the layout of PyTorch", (1, 0)),),
    4: (
        ("(C_out, C_in / groups, k_h, k_w), the layout of PyTorch", (2, 3, 1, 0)),
        ("(C_out, k_h, k_w, C_in / groups), the layout of TensorFlow Lite and MLX", (1, 2, 3, 0)),
        ("(C_in, C_out, k_h, k_w), the layout of a transposed convolution in PyTorch", (2, 3, 0, 1)),
        ("(k_h, k_w, C_out, C_in), the layout of a transposed convolution in Keras", (0, 1, 3, 2)),
    ),
}


class NamedLayer(NamedTuple):
    """A layer of a network, its name, the shape of its input, and the shapes of its parameters if it states them."""

    name: str
    layer: Layer
    shape: Shape
    parameters: dict[str, Shape] | None

    @property
    def has_parameters(self) -> bool:
        """Whether the layer has parameters."""
        if self.parameters is None:
            return self.layer.counts(self.shape).num_parameters > 0
        return bool(self.parameters)


def name_layers(layers: Sequence[tuple[str, Layer]], shapes: Mapping[str, Shape]) -> tuple[NamedLayer, ...]:
    """Return what `check_network_params` has to know of the layers of a network, whose inputs have these shapes."""
    return tuple(NamedLayer(name, layer, shapes[name], _shapes_of(layer, shapes[name])) for name, layer in layers)


def check_network_params(caller: str, layers: Sequence[NamedLayer], params: Any) -> None:
    """Raise unless `params` has an array of the right shape for each parameter of each layer, and nothing else."""
    if not isinstance(params, Mapping):
        fix = "pass its attribute `params`" if hasattr(params, "params") else "draw them with network.init(key)"
        expected = "a dict {layer: {'w': ..., 'b': ...}}"
        raise type_error(caller, "params", got=describe(params), expected=expected, fix=fix)
    names = {layer.name for layer in layers}
    missing = [layer.name for layer in layers if layer.name not in params and layer.has_parameters]
    unknown = [name for name in params if name not in names]
    if missing or unknown:
        raise _layers_error(caller, layers, params, missing, unknown)
    for name, layer, shape, shapes in layers:
        if shapes is not None and name in params:
            _check(caller, f"params[{name!r}]", layer, params[name], shape, shapes)


def check_layer_params(layer: Layer, params: Any, x: jax.Array, shape: Shape) -> None:
    """Raise unless `params` are those of the layer for an input x, which has the axes `shape` for one image."""
    caller = f"{type(layer).__name__}.apply"
    _check(caller, "params", layer, params, shape, _shapes_of(layer, shape) or {})
    for key, value in params.items():
        if value.dtype != x.dtype and key not in statistics_of(layer):
            expected, fix = f"{x.dtype}, the dtype of x", "cast one of them"
            raise type_error(caller, f"params[{key!r}]", got=f"of dtype {value.dtype}", expected=expected, fix=fix)


def statistics_of(layer: Layer) -> tuple[str, ...]:
    """Return the keys of the parameters that are statistics of the data, which no optimizer trains."""
    return getattr(layer, "statistics", ())


def _shapes_of(layer: Layer, shape: Shape) -> dict[str, Shape] | None:
    stated = getattr(layer, "parameter_shapes", None)
    return None if stated is None else stated(shape)


def _check(caller: str, path: str, layer: Layer, params: Any, shape: Shape, shapes: dict[str, Shape]) -> None:
    """Check the parameters of one layer; `path` is the expression for them in error messages."""
    if not isinstance(params, Mapping):
        expected = f"a dict with the keys {sorted(shapes)}"
        raise type_error(caller, path, got=describe(params), expected=expected, fix="use the names of network.init")
    if params.keys() != shapes.keys():
        raise _keys_error(caller, path, layer, params, shape, shapes)
    for key, expected in shapes.items():
        value = params[key]
        check_is_array(caller, f"{path}[{key!r}]", value, expected=f"an array of shape {expected}")
        if value.shape != expected:
            raise _shape_error(caller, f"{path}[{key!r}]", layer, value, shape, expected)


def _layers_error(
    caller: str, layers: Sequence[NamedLayer], params: Mapping[Any, Any], missing: list[str], unknown: list[Any]
) -> Exception:
    """Return the error for layers that are missing from the parameters, or that the network does not have."""
    got = f"with keys {_list_keys(params)}"
    if not missing:
        expected = f"only the layers with parameters, {[layer.name for layer in layers if layer.has_parameters]}"
        fix = f"remove {', '.join(map(repr, unknown))}"
        return value_error(caller, "params", got=got, expected=expected, fix=fix)
    fix = "draw them with network.init(jax.random.key(0))"
    if unknown == ["params"]:
        fix = "pass params['params'], with the names of network.init"
    elif len(unknown) == len(missing) and all(isinstance(params[key], Mapping) for key in unknown):
        renamed = ", ".join(f"{key!r} to {name!r}" for key, name in zip(unknown, missing, strict=True))
        fix = f"rename {renamed}, if they are the same layers"
    expected = f"the parameters of {missing[0]!r} among them"
    return value_error(caller, "params", got=got, expected=expected, fix=fix)


def _keys_error(
    caller: str, path: str, layer: Layer, params: Mapping[Any, Any], shape: Shape, shapes: dict[str, Shape]
) -> Exception:
    """Return the error for missing, misnamed or additional keys of one layer."""
    missing = [key for key in shapes if key not in params]
    unknown = [key for key in params if key not in shapes]
    renamed = {key: _KEYS_OF_OTHERS[key] for key in unknown if _KEYS_OF_OTHERS.get(key) in missing}
    got = f"with keys {_list_keys(params)}"
    library = next((_LIBRARIES[key] for key in renamed if key in _LIBRARIES), None)
    if library:
        got += f", the names of {library}"
    if renamed:
        entries = dict.fromkeys(key for key in shapes if key in params)
        pairs = {key: f"{path}[{key!r}]" for key in entries}
        for key, ours in renamed.items():
            pairs[ours] = _converted(f"{path}[{key!r}]", key, params[key], shape, shapes[ours])
        fix = "pass {" + ", ".join(f"{key!r}: {pairs[key]}" for key in shapes if key in pairs) + "}"
    elif missing:
        fix = f"add {missing[0]!r}, an array of shape {shapes[missing[0]]}"
        if missing == ["b"]:
            fix += ", or build the layer with bias=False"
    else:
        fix = f"remove {', '.join(map(repr, unknown))}"
        if unknown == ["b"] and hasattr(layer, "bias"):
            fix += ", or build the layer with bias=True"
    expected = f"the keys {sorted(shapes)}" if shapes else f"no parameters, as {type(layer).__name__} has none here"
    return value_error(caller, path, got=got, expected=expected, fix=fix)


def _converted(expression: str, key: str, value: Any, shape: Shape, expected: Shape) -> str:
    """Return the expression for a parameter under the key of another library, brought into our layout."""
    found = getattr(value, "shape", None)
    if found is None or (found == expected and key != "weight"):
        return expression
    hint = _layout_hint(expression, tuple(found), shape, expected)
    return hint.fix if hint else expression


def _shape_error(caller: str, path: str, layer: Layer, value: Any, shape: Shape, expected: Shape) -> Exception:
    """Return the error for an array of another shape."""
    hint = _layout_hint(path, tuple(value.shape), shape, expected)
    got = describe(value) + (f", which looks like {hint.layout}" if hint else "")
    kind = type(layer).__name__
    fix = f"pass {hint.fix}" if hint else f"pass an array of this shape, or build {kind} for the one that you have"
    if hint and hint.otherwise:
        fix += f", or {hint.otherwise}"
    wanted = f"shape {expected}, for this {kind} on an input of shape {shape}"
    return value_error(caller, path, got=got, expected=wanted, fix=fix)


class _Hint(NamedTuple):
    """The layout that an array seems to have, the expression that brings it into ours, and another possible one."""

    layout: str
    fix: str
    otherwise: str = ""


def _layout_hint(expression: str, found: Shape, shape: Shape, expected: Shape) -> _Hint | None:
    """Return the first known layout in which an array of shape `found` is a parameter of shape `expected`.

    `shape` is that of the layer's input. A dense layer reads an input (H, W, C) in this order of axes, where PyTorch
    flattens (C, H, W).
    """
    on_maps = len(expected) == 2 and len(shape) == 3 and math.prod(shape) == expected[0]
    channels_first = (expected[-1], *shape[-1:], *shape[:-1])
    if on_maps and found == (expected[1], expected[0]) and min(shape[-1], math.prod(shape[:-1])) > 1:
        layout = f"the layout of PyTorch, (units, C * H * W) with (C, H, W) = {channels_first[1:]}"
        change = f".reshape{channels_first}.transpose(2, 3, 1, 0).reshape{expected}"
        return _Hint(layout, f"{expression}{change}", f"{expression}.T if its columns are in the order (H, W, C)")
    for layout, order in _LAYOUTS.get(len(expected), ()):
        if len(found) == len(expected) and tuple(found[axis] for axis in order) == expected:
            change = ".T" if order == (1, 0) else f".transpose{order}"
            return _Hint(layout, f"{expression}{change}")
    if on_maps and found == (*shape, expected[1]):
        return _Hint("a kernel (H, W, C, units) that covers the whole input", f"{expression}.reshape{expected}")
    if on_maps and found == channels_first:
        change = f".transpose(2, 3, 1, 0).reshape{expected}"
        return _Hint("a kernel (units, C, H, W) of PyTorch that covers the whole input", f"{expression}{change}")
    match found, expected:
        case (height, width, c_in, multiplier), (*kernel, 1, c_out) if (
            kernel == [height, width] and c_in * multiplier == c_out
        ):
            layout = "(k_h, k_w, C_in, multiplier), the layout of a depthwise convolution in Keras"
            return _Hint(layout, f"{expression}.reshape{expected}")
        case _:
            pass
    if [size for size in found if size != 1] == [size for size in expected if size != 1]:
        change = f".reshape({', '.join(map(str, expected))})"
        return _Hint("the same array with other axes of size 1", f"{expression}{change}")
    if found[1:] == expected:
        return _Hint(f"the parameters of {found[0]} networks", "one network, or use jax.vmap over the networks")
    return None


def _list_keys(params: Mapping[Any, Any]) -> str:
    return f"[{', '.join(sorted(map(repr, params)))}]"
