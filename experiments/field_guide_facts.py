"""What the field guide says about a network: its stages, and the ways in which its maps read maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

import cnnjax
from cnnjax.connections import ConnectionTable
from cnnjax.layers import Conv2D, Dense, PixelDense
from cnnjax.layers.summary import Row


@dataclass(frozen=True)
class Stage:
    """All volumes of one size.

    Attributes:
        size: their height and width; empty for those of a dense layer.
        rows: the layers that compute them.
    """

    size: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def maps(self) -> int:
        """The maps of the last volume."""
        return self.rows[-1].maps

    @property
    def num_parameters(self) -> int:
        """The parameters of its layers."""
        return sum(row.num_parameters for row in self.rows)

    @property
    def num_macs(self) -> int:
        """The multiply-accumulates of its layers."""
        return sum(row.num_macs for row in self.rows)

    @property
    def num_connections(self) -> int:
        """The connections of its layers."""
        return sum(row.num_connections for row in self.rows)

    @property
    def title(self) -> str:
        """Its size as text: "56 x 56", or "values" without one."""
        return " x ".join(map(str, self.size)) if self.size else "values"


def stages(network: cnnjax.Network) -> list[Stage]:
    """The stages of a network, the largest volumes first."""
    by_size: dict[tuple[int, ...], list[Row]] = {}
    for row in cnnjax.summary(network).rows:
        by_size.setdefault(row.size, []).append(row)
    return [Stage(size, tuple(by_size[size])) for size in sorted(by_size, key=math.prod, reverse=True) if size] + [
        Stage(size, tuple(rows)) for size, rows in by_size.items() if not size
    ]


@dataclass(frozen=True)
class Reading:
    """A way in which maps read maps, and the layers that do it.

    Attributes:
        title: its name, such as "3 x 3, full" or "depthwise, 5 x 5".
        layers: the names of the layers.
        share: of the multiply-accumulates of the network.
        example: the name of the largest of them.
        source: what that layer reads.
        kernel: (height, width) of its kernel.
        table: which of its input maps feeds which output map.
        bias: whether it adds a bias.
    """

    title: str
    layers: tuple[str, ...]
    share: float
    example: str
    source: str
    kernel: tuple[int, ...]
    table: ConnectionTable
    bias: bool


def readings(network: cnnjax.Network) -> list[Reading]:
    """The ways in which a network's maps read maps, that with the most multiply-accumulates first."""
    macs = {row.name: row.num_macs for row in cnnjax.summary(network).rows}
    shapes, layers = network.input_shapes(), dict(network.layers)
    found: dict[str, list[str]] = {}
    for name, layer in network.layers:
        if isinstance(layer, (Conv2D, Dense)):
            found.setdefault(_title(layer, shapes[name]), []).append(name)
    result: list[Reading] = []
    for title, names in found.items():
        example = max(names, key=lambda name: macs[name])
        layer, shape = layers[example], shapes[example]
        assert isinstance(layer, (Conv2D, Dense))
        result.append(
            Reading(
                title=title,
                layers=tuple(names),
                share=sum(macs[name] for name in names) / max(sum(macs.values()), 1),
                example=example,
                source=network.reads[example][0],
                kernel=_kernel(layer, shape),
                table=_table(layer, shape),
                bias=layer.bias,
            )
        )
    return sorted(result, key=lambda reading: -reading.share)


def _title(layer: Conv2D | Dense, shape: tuple[int, ...]) -> str:
    kernel = " x ".join(map(str, _kernel(layer, shape)))
    if isinstance(layer, Dense):
        return "1 x 1" if isinstance(layer, PixelDense) else "dense"
    if layer.groups == shape[-1] > 1:
        return f"{kernel}, depthwise"
    if layer.groups > 1:
        return f"{kernel}, {layer.groups} groups"
    return f"{kernel}, table" if layer.connections is not None else kernel


def _kernel(layer: Conv2D | Dense, shape: tuple[int, ...]) -> tuple[int, ...]:
    geometry = layer.geometry(shape)
    return geometry.kernel if geometry is not None else (1, 1)


def _table(layer: Conv2D | Dense, shape: tuple[int, ...]) -> ConnectionTable:
    if isinstance(layer, Conv2D):
        return layer.table(shape)
    return ConnectionTable(np.ones((shape[-1], layer.units), bool))


def sentence(reading: Reading) -> str:
    """How the maps of a layer read the maps before, in numbers."""
    table, taps, kernel = reading.table, math.prod(reading.kernel), " x ".join(map(str, reading.kernel))
    c_in, c_out = table.matrix.shape
    fans = sorted(set(table.fan_in))
    read = "the picture" if reading.source == "input" else f"`{reading.source}`"
    if reading.title == "dense":
        values = f"{kernel} x {c_in:,} = {taps * c_in:,}" if taps > 1 else f"{c_in:,}"
        text = f"each of the {c_out:,} units reads all {values} values of {read}: its kernel covers the whole volume"
    elif fans == [c_in] and taps == 1:
        text = f"each of the {c_out:,} maps is a weighted sum of all {c_in:,} maps of {read}, pixel by pixel"
    elif fans == [c_in]:
        many = f"all {c_in:,} maps of {read}" if c_in > 1 else read
        slices = ", a slice of its own for each map" if c_in > 1 else ""
        text = f"each of the {c_out:,} maps reads {many} through one kernel of {kernel} x {c_in:,}, "
        text += f"{taps * c_in:,} weights{slices}"
    elif fans == [1]:
        text = f"each of the {c_out:,} maps reads one map of {read} through a kernel of {kernel}: no two maps are added"
    else:
        fan = f"{fans[0]:,}" if len(fans) == 1 else f"{', '.join(map(str, fans[:-1]))} or {fans[-1]}"
        text = (
            f"each of the {c_out:,} maps reads {fan} of the {c_in:,} maps of {read} through a kernel of {kernel} for "
        )
        text += f"each: {table.num_links:,} of {table.matrix.size:,} pairs of maps are connected"
    count = f"{len(reading.layers)} layer{'s' if len(reading.layers) > 1 else ''}"
    percent = f"{percentage(reading.share)} of the multiply-accumulates"
    return f"**{reading.title}** ({count}, {percent}): in `{reading.example}` {text}."


def percentage(share: float) -> str:
    """A share in per cent, with a decimal below 10 per cent."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"
