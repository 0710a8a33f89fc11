"""The schemes that connection_schemes.py compares: how C3 reads the maps of S2, in networks of equal width or size."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import cnnjax
from cnnjax import Input, Network, connections
from cnnjax.connections import LENET5_C3, ConnectionTable
from cnnjax.init import Constant
from cnnjax.layers import Conv2D, Counts, Dense, Layer, Subsample2D

SQUASHED: dict[str, Any] = {"activation": "scaled_tanh"}
S2_MAPS, KERNEL = 6, 5
WHICH_MAP = "which map"
TASKS = ("MNIST", "Fashion-MNIST", WHICH_MAP)
SEEDS_FOR_A_TEST = 5


# --- the layers


@dataclass(frozen=True)
class Replicated2D(Conv2D):
    """One 2-D kernel per output map, shared by all input maps, so that only the sum of the maps matters."""

    def init(self, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> dict[str, jax.Array]:
        """Draw one slice per output map, scaled by the fan-in over all input maps."""
        params = super().init(key, shape, dtype)
        return {**params, "w": params["w"][:, :, :1]}

    def parameter_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The shapes for an input of one map."""
        return super().parameter_shapes((*shape[:-1], 1))

    def apply(self, params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        """Convolve the sum of the maps."""
        return super().apply(params, jnp.sum(x, axis=-1, keepdims=True))

    def counts(self, shape: tuple[int, ...]) -> Counts:
        """The weights of one slice; the maps are summed first, so the multiply-accumulates are those of one map too."""
        full, one = super().counts(shape), super().counts((*shape[:-1], 1))
        return replace(one, num_connections=full.num_connections)


@dataclass(frozen=True)
class OverMaps3D(Conv2D):
    """A 3-D convolution: the kernel is `depth` maps deep and also slides along the map axis.

    The output maps are the C_in - depth + 1 positions along the map axis times the kernels, kernels varying fastest.
    """

    depth: int = 3

    def positions(self, shape: tuple[int, ...]) -> int:
        """The positions of the kernel along the map axis."""
        return shape[-1] - self.depth + 1

    def at_one_position(self, shape: tuple[int, ...]) -> tuple[Conv2D, tuple[int, ...]]:
        """The 2-D convolution at each position, and the shape of its input."""
        settings: dict[str, Any] = {name: getattr(self, name) for name in ("activation", "weight_init", "bias_init")}
        return Conv2D(self.maps // self.positions(shape), self.kernel, **settings), (*shape[:-1], self.depth)

    def init(self, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> dict[str, jax.Array]:
        """Draw the kernels (k, k, depth, kernels)."""
        layer, seen = self.at_one_position(shape)
        return layer.init(key, seen, dtype)

    def parameter_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters of the convolution at one position."""
        layer, seen = self.at_one_position(shape)
        return layer.parameter_shapes(seen)

    def apply(self, params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        """Apply the same kernels to each `depth` neighbouring maps."""
        layer, seen = self.at_one_position(x.shape[1:])
        positions = range(self.positions(x.shape[1:]))
        windows = jnp.concatenate([x[..., d : d + self.depth] for d in positions])
        y = layer.apply(params, windows).reshape(len(positions), x.shape[0], *layer.output_shape(seen))
        return jnp.moveaxis(y, 0, -2).reshape(x.shape[0], *y.shape[2:4], self.maps)

    def counts(self, shape: tuple[int, ...]) -> Counts:
        """The weights and biases of one position, shared by all."""
        layer, seen = self.at_one_position(shape)
        one, positions = layer.counts(seen), self.positions(shape)
        return replace(one, num_connections=one.num_connections * positions, num_macs=one.num_macs * positions)


# --- the schemes

Layers = tuple[tuple[str, Layer], ...]


@dataclass(frozen=True)
class Scheme:
    """A way to connect C3: its layers given (size, seed), the size for 16 maps and that for about 1,516 parameters."""

    name: str
    layers: Callable[[int, int], Layers]
    size_for_width: int
    size_for_parameters: int

    @property
    def same_under_both_budgets(self) -> bool:
        """Whether both budgets give the same network."""
        return self.size_for_width == self.size_for_parameters


def with_table(table: ConnectionTable) -> Layers:
    """C3 as one convolution with a connection table."""
    return (("c3", Conv2D(table.c_out, KERNEL, connections=table, **SQUASHED)),)


def depthwise_table(maps: int) -> ConnectionTable:
    """Each output map reads one input map; every input map feeds as equal a number of output maps as possible."""
    return connections.from_rows([[o * S2_MAPS // maps] for o in range(maps)], S2_MAPS)


def random_table(maps: int, seed: int, links: int = LENET5_C3.num_links) -> ConnectionTable:
    """A random table with a given number of links, in which every output map reads at least one input map.

    >>> table = random_table(16, seed=0)
    >>> table.num_links, min(table.fan_in) >= 1
    (60, True)
    """
    random = np.random.default_rng(seed)
    matrix = np.zeros((S2_MAPS, maps), bool)
    matrix[random.integers(0, S2_MAPS, maps), np.arange(maps)] = True
    free = np.flatnonzero(~matrix)
    matrix.flat[random.choice(free, links - maps, replace=False)] = True
    return ConnectionTable(matrix)


def separable(multiplier: int) -> Layers:
    """C3 as a depthwise-separable convolution."""
    depthwise = Conv2D(S2_MAPS * multiplier, KERNEL, groups=S2_MAPS, bias=False)
    return (("c3_depthwise", depthwise), ("c3", Conv2D(16, 1, **SQUASHED)))


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("full", lambda maps, seed: with_table(connections.full(S2_MAPS, maps)), 16, 10),
        Scheme("Table I", lambda maps, seed: with_table(LENET5_C3), 16, 16),
        Scheme("random, 60 links", lambda maps, seed: with_table(random_table(maps, seed)), 16, 16),
        Scheme("two groups", lambda maps, seed: with_table(connections.grouped(S2_MAPS, maps, 2)), 16, 20),
        Scheme("depthwise", lambda maps, seed: with_table(depthwise_table(maps)), 16, 58),
        Scheme("depthwise + 1x1", lambda multiplier, seed: separable(multiplier), 1, 6),
        Scheme("3-D over the maps", lambda k, seed: (("c3", OverMaps3D(4 * k, KERNEL, **SQUASHED)),), 4, 20),
        Scheme("2-D, replicated", lambda maps, seed: (("c3", Replicated2D(maps, KERNEL, **SQUASHED)),), 16, 58),
    )
}
REFERENCE = "full"
BUDGETS = {
    "width": "equal width: 16 maps in C3, 120 in C5",
    "parameters": "equal parameters: about 1,516 in C3 and 60,838 in total",
}


@functools.cache
def build(scheme: str, budget: str, seed: int, whole: bool = True) -> Network:
    """A LeNet with this C3. With the budget "parameters", C5 gets the width that gives the network as many as Table I.

    Two changes to LeNet-5 make it cheap to train: C1 has stride 2 instead of being followed by sub-sampling, and the
    output is a softmax. C3 reads the same 6 maps of 14 x 14 pixels. Without `whole`, the network starts at C3 and has
    six classes.
    """
    chosen = SCHEMES[scheme]
    c3 = chosen.layers(chosen.size_for_width if budget == "width" else chosen.size_for_parameters, seed)

    def network(c5: int) -> Network:
        first = (("c1", Conv2D(S2_MAPS, KERNEL, stride=2, **SQUASHED)),) if whole else ()
        rest = (
            ("s4", Subsample2D(2, weight_init=Constant(0.25), **SQUASHED)),
            ("c5", Conv2D(c5, KERNEL, **SQUASHED)),
            ("f6", Dense(84, **SQUASHED)),
            ("output", Dense(10 if whole else S2_MAPS)),
        )
        start = Input((32, 32, 1), background=-0.1, foreground=1.175) if whole else Input((14, 14, S2_MAPS))
        return Network(f"a LeNet with C3: {scheme}", start, (*first, *c3, *rest))

    if budget == "width":
        return network(c5=120)
    target = cnnjax.summary(build("Table I", "width", seed, whole)).num_parameters
    one, two = (cnnjax.summary(network(c5)).num_parameters for c5 in (1, 2))
    return network(c5=1 + round((target - one) / (two - one)))


def c3_counts(network: Network) -> Counts:
    """The counts of C3, summed over its layers where it has two."""
    shapes = network.input_shapes()
    parts = [layer.counts(shapes[name]) for name, layer in network.layers if name.startswith("c3")]
    fields = ("num_weights", "num_biases", "num_connections", "num_macs")
    return Counts(**{field: sum(getattr(part, field) for part in parts) for field in fields})


# --- the plan


Choice = tuple[str, str, int, str]


def planned(names: Sequence[str], seeds: int) -> list[Choice]:
    """Every (scheme, budget, seed, task), seed by seed within a table, so that an interrupted table still has pairs.

    A network that is the same under both budgets is trained once; the synthetic task has the budget "width" only.
    """
    same = {name for name, scheme in SCHEMES.items() if scheme.same_under_both_budgets}
    return [
        (scheme, budget, seed, task)
        for budget in BUDGETS
        for task in names
        for seed in range(seeds)
        for scheme in SCHEMES
        if budget == "width" or (scheme not in same and task != WHICH_MAP)
    ]
