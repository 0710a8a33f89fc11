"""Configurations drawn at random: families of uses, each with the sizes that it has in practice.

Sizes are log-uniform between realistic ends, and the joint distribution is that of networks: deep layers have small
images and many maps, blurs one map and large kernels, patch embeddings a stride as large as the kernel. A family draws
again, with a smaller batch, until the work fits `MOST_PRODUCTS`, `MOST_BYTES` and `MOST_SECONDS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from benchmarks.configurations.configuration import Configuration, Convolution, Pool
from cnnjax.errors import ArgumentValueError

__all__ = ["FAMILIES", "MOST_BYTES", "MOST_PRODUCTS", "MOST_SECONDS", "draw"]

MOST_PRODUCTS = 10**9
"""The largest number of multiplications in a direction."""
MOST_BYTES = 64 * 2**20
"""The largest size of the arrays together; temporary buffers are several times as large."""
MOST_SECONDS = 1.2
"""The longest time that lax is estimated to take for a direction."""


def draw(seed: int, count: int) -> tuple[Configuration, ...]:
    """Draw `count` configurations; the first ones of a seed do not depend on the count."""
    random = Random(seed)
    weights = [weight for weight, _ in FAMILIES.values()]
    return tuple(_fitting(random, random.choices(list(FAMILIES), weights)[0]) for _ in range(count))


def _fitting(random: Random, family: str) -> Configuration:
    """Draw from a family until the configuration is valid and its work, with a smaller batch if needed, is small."""
    while True:
        drawn = replace(FAMILIES[family][1](random), family=family)
        try:
            _ = drawn.geometry
        except ArgumentValueError:  # the kernel does not fit into the image
            continue
        while drawn.batch > 1 and not _is_small(drawn):
            drawn = replace(drawn, batch=drawn.batch // 2)
        if _is_small(drawn):
            return drawn


def _is_small(c: Configuration) -> bool:
    return c.products <= MOST_PRODUCTS and c.bytes <= MOST_BYTES and c.lax_seconds <= MOST_SECONDS


def _log_uniform(random: Random, low: int, high: int) -> int:
    return min(max(round(math.exp(random.uniform(math.log(low), math.log(high)))), low), high)


def _batch(random: Random) -> int:
    """0 for one in thirty, 1 for three in ten, else up to 256."""
    u = random.random()
    return 0 if u < 1 / 30 else 1 if u < 1 / 3 else _log_uniform(random, 1, 256)


def _maps(random: Random, low: int, high: int) -> int:
    """A number of maps; above 16 mostly a multiple of 8."""
    n = _log_uniform(random, low, high)
    return max(n // 8 * 8, low) if n > 16 and random.random() < 0.8 else n


def _convolution(
    random: Random,
    size: tuple[int, ...],
    c_in: int,
    kernel: tuple[int, ...],
    c_out: int,
    *,
    stride: int | tuple[int, ...] = 1,
    padding: Any = "SAME",
    dilation: int = 1,
    groups: int = 1,
    transposed: bool = False,
    batch: int | None = None,
) -> Convolution:
    axes = len(size)
    strides = stride if isinstance(stride, tuple) else (stride,) * axes
    n = _batch(random) if batch is None else batch
    return Convolution("", n, size, c_in, kernel, c_out, strides, padding, (dilation,) * axes, groups, transposed)


# --- one axis: audio, text, time series


def _waveform(random: Random) -> Convolution:
    kernel = random.choice((10, 16, 20, 64, 80, 101))
    stride = random.choice((1, 4, 5, max(kernel // 2, 1)))
    size = _log_uniform(random, 2000, 16384)
    return _convolution(random, (size,), 1, (kernel,), _maps(random, 16, 512), stride=stride, padding="VALID")


def _sequence(random: Random) -> Convolution:
    kernel = random.choice((1, 3, 3, 5, 7, 8, 9, 15, 31))
    maps = _maps(random, 8, 512)
    c_out = random.choice((maps, maps, 2 * maps, max(maps // 2, 1)))
    stride, padding = random.choice((1, 1, 1, 2)), random.choice(("SAME", "SAME", "VALID", "CAUSAL"))
    size = _log_uniform(random, 16, 8192)
    return _convolution(random, (size,), maps, (kernel,), c_out, stride=stride, padding=padding)


def _dilated_sequence(random: Random) -> Convolution:
    maps, dilation = _maps(random, 8, 256), 2 ** random.randint(0, 9)
    size, kernel = _log_uniform(random, 128, 16384), random.choice((2, 2, 3, 7))
    return _convolution(random, (size,), maps, (kernel,), maps, padding="CAUSAL", dilation=dilation)


def _depthwise_sequence(random: Random) -> Convolution:
    maps, kernel = _maps(random, 32, 1024), random.choice((3, 4, 4, 7, 15, 31))
    size, padding = _log_uniform(random, 16, 4096), random.choice(("SAME", "CAUSAL"))
    return _convolution(random, (size,), maps, (kernel,), maps, padding=padding, groups=maps)


def _long_filter(random: Random) -> Convolution:
    maps, kernel = _log_uniform(random, 1, 16), _log_uniform(random, 32, 101)
    groups = random.choice((1, maps))
    size, padding = _log_uniform(random, 256, 16384), random.choice(("SAME", "CAUSAL", "VALID"))
    return _convolution(random, (size,), maps, (kernel,), maps, padding=padding, groups=groups)


def _text(random: Random) -> Convolution:
    size, maps, kernel = _log_uniform(random, 16, 512), random.choice((50, 100, 128, 300)), random.randint(2, 5)
    return _convolution(random, (size,), maps, (kernel,), _maps(random, 32, 128), padding="VALID")


# --- two axes: images, spectrograms, boards


def _stage(random: Random) -> tuple[tuple[int, int], int]:
    """The image and the maps of a layer: the image is halved when the maps are doubled."""
    stage = random.uniform(0, 5)
    side = max(round(random.choice((32, 96, 160, 224)) * 2**-stage), 4)
    maps = max(round(random.choice((16, 24, 32, 64)) * 2**stage), 8)
    wide = side if random.random() < 0.7 else max(round(side * random.uniform(0.6, 1.8)), 4)
    return (side, wide), min(maps // 8 * 8, 1024)


def _vision_layer(random: Random) -> Convolution:
    size, maps = _stage(random)
    k = random.choice((3, 3, 3, 3, 5, 7))
    stride, c_out = random.choice(((1, maps), (1, maps), (2, maps), (2, 2 * maps), (1, 2 * maps), (1, maps // 2)))
    padding = random.choice(("SAME", "SAME", k // 2, "VALID"))
    return _convolution(random, size, maps, (k, k), c_out, stride=stride, padding=padding)


def _pointwise(random: Random) -> Convolution:
    size, maps = _stage(random)
    c_out = random.choice((maps, 4 * maps, max(maps // 4, 1), _maps(random, 1, 512)))
    return _convolution(random, size, maps, (1, 1), c_out, stride=random.choice((1, 1, 1, 2)))


def _stem(random: Random) -> Convolution:
    side, c_in = _log_uniform(random, 28, 512), random.choice((1, 3, 3, 3, 4))
    k, stride = random.choice(((3, 1), (3, 2), (5, 1), (7, 2), (7, 1), (11, 4)))
    padding = random.choice(("SAME", k // 2, "VALID"))
    return _convolution(random, (side, side), c_in, (k, k), _maps(random, 4, 96), stride=stride, padding=padding)


def _patches(random: Random) -> Convolution:
    k = random.choice((2, 2, 4, 4, 8, 14, 16, 16, 32))
    side = k * _log_uniform(random, 1, max(256 // k, 2))
    c_in = random.choice((1, 3, 3, 3)) if k > 2 else _maps(random, 32, 512)
    return _convolution(random, (side, side), c_in, (k, k), _maps(random, 32, 768), stride=k, padding="VALID")


def _grouped_layer(random: Random) -> Convolution:
    size, maps = _stage(random)
    groups = random.choice([g for g in (2, 3, 4, 8, 16, 32) if maps % g == 0 and g < maps])
    k, stride = random.choice((1, 3, 3, 3, 5)), random.choice((1, 1, 2))
    return _convolution(random, size, maps, (k, k), maps, stride=stride, groups=groups)


def _depthwise_layer(random: Random) -> Convolution:
    size, maps = _stage(random)
    k, stride, multiplier = random.choice((3, 3, 3, 5, 7)), random.choice((1, 1, 2)), random.choice((1, 1, 1, 1, 2, 4))
    padding = random.choice(("SAME", "SAME", k // 2, "VALID"))
    return _convolution(random, size, maps, (k, k), maps * multiplier, stride=stride, padding=padding, groups=maps)


def _large_depthwise_layer(random: Random) -> Convolution:
    side, maps = _log_uniform(random, 7, 64), _maps(random, 8, 384)
    k = random.choice((9, 11, 13, 21, 27, 29, 31, 31, 51))
    kernel = (k, k) if random.random() < 0.8 else random.choice(((5, k), (k, 5)))
    return _convolution(random, (side, side), maps, kernel, maps, groups=maps)


def _blur(random: Random) -> Convolution:
    side, k = _log_uniform(random, 64, 1024), 2 * _log_uniform(random, 2, 50) + 1
    maps = random.choice((1, 1, 3, 3))
    kernel = (k, k) if random.random() < 0.6 else random.choice(((k, 1), (1, k)))
    return _convolution(random, (side, side), maps, kernel, maps, groups=maps, batch=random.choice((1, 1, 1, 4)))


def _wide_image(random: Random) -> Convolution:
    size = (_log_uniform(random, 8, 128), _log_uniform(random, 1024, 16384))
    kernel = (random.choice((1, 3, 5, 7)), random.choice((3, 5, 7, 11, 33)))
    c_in, c_out = random.choice(((1, 1), (1, 1), (1, _log_uniform(random, 2, 32)), (4, 8), (16, 16)))
    stride = random.choice(((1, 1), (1, 1), (1, 2), (1, 4)))
    return _convolution(random, size, c_in, kernel, c_out, stride=stride, batch=random.choice((1, 1, 2, 8)))


def _dilated_layer(random: Random) -> Convolution:
    side, maps, dilation = _log_uniform(random, 14, 96), _maps(random, 16, 512), random.choice((2, 2, 4, 6, 12, 18))
    return _convolution(random, (side, side), maps, (3, 3), random.choice((maps, 64)), dilation=dilation)


def _digits(random: Random) -> Convolution:
    side, (c_in, c_out) = random.choice((28, 32, 14, 12)), random.choice(((1, 6), (1, 32), (6, 16), (20, 50), (32, 64)))
    return _convolution(random, (side, side), c_in, (5, 5), c_out, padding="VALID", batch=_log_uniform(random, 1, 256))


def _whole_image(random: Random) -> Convolution:
    side, maps = _log_uniform(random, 2, 14), _maps(random, 8, 512)
    return _convolution(random, (side, side), maps, (side, side), _maps(random, 10, 512), padding="VALID")


def _board(random: Random) -> Convolution:
    side, maps = random.choice((8, 9, 15, 19)), _maps(random, 16, 256)
    return _convolution(random, (side, side), maps, (3, 3), maps)


def _anything(random: Random) -> Convolution:
    axes = random.randint(1, 3)
    size = _any_size(random, axes)
    kernel = tuple(_log_uniform(random, 1, min(n, 101)) for n in size)
    c_in, c_out = _log_uniform(random, 1, 256), _log_uniform(random, 1, 256)
    grouping = random.choice(("one", "one", "some", "all"))
    groups = c_in if grouping == "all" else random.choice((2, 3, 4, 8, 16, 32)) if grouping == "some" else 1
    c_in, c_out = (max(maps // groups, 1) * groups for maps in (c_in, c_out))
    stride, dilation = tuple(random.choice((1, 1, 2, 3)) for _ in size), random.choice((1, 1, 1, 2, 3))
    padding, transposed = random.choice(("SAME", "VALID")), random.random() < 0.15
    return _convolution(
        random,
        size,
        c_in,
        kernel,
        c_out,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        transposed=transposed,
    )


def _any_size(random: Random, axes: int) -> tuple[int, ...]:
    """Log-uniform sizes, of which one is up to 16,384."""
    size = [_log_uniform(random, 1, 16384), *(_log_uniform(random, 1, (512, 64)[axes - 2]) for _ in range(axes - 1))]
    random.shuffle(size)
    return tuple(size)


# --- three axes: videos, scans


def _video(random: Random) -> Convolution:
    depth, side, maps = _log_uniform(random, 4, 32), _log_uniform(random, 7, 112), _maps(random, 3, 256)
    kernel = random.choice(((3, 3, 3), (3, 3, 3), (1, 3, 3), (3, 1, 1), (3, 7, 7), (1, 1, 1), (2, 2, 2)))
    stride = random.choice(((1, 1, 1), (1, 1, 1), (1, 2, 2), (2, 2, 2)))
    return _convolution(random, (depth, side, side), maps, kernel, _maps(random, 8, 256), stride=stride)


def _scan(random: Random) -> Convolution:
    side, k, dilation = _log_uniform(random, 8, 96), random.choice((3, 3, 3, 5)), random.choice((1, 1, 1, 2))
    c_in, c_out = random.choice((1, 4, _maps(random, 8, 128))), _maps(random, 4, 128)
    return _convolution(random, (side,) * 3, c_in, (k,) * 3, c_out, stride=random.choice((1, 1, 2)), dilation=dilation)


def _grouped_video(random: Random) -> Convolution:
    depth, side, maps = _log_uniform(random, 4, 16), _log_uniform(random, 7, 56), _maps(random, 8, 256)
    maps = maps // 4 * 4
    kernel = random.choice(((3, 3, 3), (3, 3, 3), (5, 1, 1), (1, 3, 3), (3, 5, 5)))
    groups, stride = random.choice((maps, maps, 4)), random.choice(((1, 1, 1), (1, 2, 2)))
    return _convolution(random, (depth, side, side), maps, kernel, maps, stride=stride, groups=groups)


# --- transposed


def _decoder(random: Random) -> Convolution:
    small, maps = _stage(random)
    k, stride, padding = random.choice(
        ((2, 2, "VALID"), (4, 2, 1), (3, 2, "SAME"), (5, 2, "SAME"), (3, 1, 1), (8, 4, 2))
    )
    c_in = random.choice((maps, max(maps // 2, 1), max(maps // 2, 1), 3, 1))
    size = tuple(n * stride for n in small)
    return _convolution(random, size, c_in, (k, k), maps, stride=stride, padding=padding, transposed=True)


def _upsampling(random: Random) -> Convolution:
    size, maps = _stage(random)
    k, stride, padding = random.choice(((4, 2, 1), (3, 2, "SAME"), (8, 4, 2)))
    size = tuple(n * stride for n in size)
    return _convolution(random, size, maps, (k, k), maps, stride=stride, padding=padding, groups=maps, transposed=True)


def _vocoder(random: Random) -> Convolution:
    (k, stride), maps = random.choice(((16, 8), (16, 8), (4, 2), (8, 4), (11, 5))), _maps(random, 16, 512)
    size = stride * _log_uniform(random, 8, 2048)
    return _convolution(random, (size,), max(maps // 2, 1), (k,), maps, stride=stride, padding="SAME", transposed=True)


def _scan_decoder(random: Random) -> Convolution:
    size = tuple(2 * _log_uniform(random, 2, 24) for _ in range(3))
    maps, (k, padding) = _maps(random, 8, 128), random.choice(((2, "VALID"), (4, 1), (3, "SAME")))
    return _convolution(random, size, maps, (k,) * 3, maps, stride=2, padding=padding, transposed=True)


# --- pools


def _pool(
    random: Random,
    size: tuple[int, ...],
    maps: int,
    window: Any,
    stride: Any = None,
    padding: Any = "VALID",
    p: float = 0.5,
) -> Pool:
    """A pool that takes the mean with probability `p`."""
    axes = len(size)
    windows = window if isinstance(window, tuple) else (window,) * axes
    strides = windows if stride is None else stride if isinstance(stride, tuple) else (stride,) * axes
    return Pool("", random.random() < p, _batch(random), size, maps, windows, strides, padding)


def _vision_pool(random: Random) -> Pool:
    size, maps = _stage(random)
    k, stride, padding = random.choice(
        ((2, 2, "VALID"), (2, 2, "VALID"), (2, 2, "SAME"), (3, 2, "SAME"), (3, 2, 1), (3, 1, "SAME"), (3, 3, "VALID"))
    )
    return _pool(random, size, maps, k, stride, padding, p=0.4)


def _global_pool(random: Random) -> Pool:
    axes = random.choice((1, 2, 2, 2, 2, 3))
    size = tuple(_log_uniform(random, 2, (16384, 224, 32)[axes - 1]) for _ in range(axes))
    return _pool(random, size, _maps(random, 1, 1024), size, p=0.6)


def _pyramid_pool(random: Random) -> Pool:
    side, maps, k = _log_uniform(random, 7, 40), _maps(random, 16, 512), random.choice((5, 5, 9, 13))
    return _pool(random, (side, side), maps, k, 1, "SAME", p=0.2)


def _box_filter(random: Random) -> Pool:
    side, k = _log_uniform(random, 32, 1024), 2 * _log_uniform(random, 1, 25) + 1
    return _pool(random, (side, side), random.choice((1, 1, 3)), k, 1, "SAME", p=0.6)


def _sequence_pool(random: Random) -> Pool:
    k = random.choice((2, 2, 3, 4, 5, 8, 16, 160))
    stride, padding = random.choice((k, k, max(k // 2, 1), 1)), random.choice(("VALID", "SAME"))
    return _pool(random, (_log_uniform(random, 16, 16384),), _maps(random, 1, 512), k, stride, padding)


def _video_pool(random: Random) -> Pool:
    depth, side = _log_uniform(random, 4, 32), _log_uniform(random, 7, 112)
    window, stride = random.choice(((2, 2), ((1, 2, 2), (1, 2, 2)), (3, 2), ((1, 3, 3), (1, 2, 2)), (3, 1)))
    return _pool(random, (depth, side, side), _maps(random, 1, 256), window, stride, random.choice(("VALID", "SAME")))


def _wide_pool(random: Random) -> Pool:
    size = (_log_uniform(random, 8, 128), _log_uniform(random, 1024, 16384))
    window = (random.choice((1, 2, 4)), random.choice((2, 4, 16, 64)))
    return _pool(random, size, _log_uniform(random, 1, 8), window)


def _any_window(random: Random) -> Pool:
    size = _any_size(random, random.randint(1, 3))
    window = tuple(_log_uniform(random, 1, n) for n in size)
    stride = tuple(random.choice((k, k, max(k // 2, 1), _log_uniform(random, 1, k))) for k in window)
    return _pool(random, size, _log_uniform(random, 1, 256), window, stride, random.choice(("VALID", "SAME")))


FAMILIES: dict[str, tuple[float, Callable[[Random], Configuration]]] = {
    "waveform": (2, _waveform),
    "sequence": (5, _sequence),
    "dilated sequence": (4, _dilated_sequence),
    "depthwise sequence": (4, _depthwise_sequence),
    "long filter": (3, _long_filter),
    "text": (3, _text),
    "vision layer": (10, _vision_layer),
    "pointwise": (5, _pointwise),
    "stem": (4, _stem),
    "patches": (4, _patches),
    "grouped layer": (7, _grouped_layer),
    "depthwise layer": (6, _depthwise_layer),
    "large depthwise layer": (4, _large_depthwise_layer),
    "blur": (4, _blur),
    "wide image": (3, _wide_image),
    "dilated layer": (3, _dilated_layer),
    "digits": (2, _digits),
    "whole image": (2, _whole_image),
    "board": (2, _board),
    "anything": (14, _anything),
    "video": (4, _video),
    "scan": (4, _scan),
    "grouped video": (2, _grouped_video),
    "decoder": (4, _decoder),
    "upsampling": (2, _upsampling),
    "vocoder": (2, _vocoder),
    "scan decoder": (2, _scan_decoder),
    "vision pool": (5, _vision_pool),
    "global pool": (4, _global_pool),
    "pyramid pool": (2, _pyramid_pool),
    "box filter": (2, _box_filter),
    "sequence pool": (3, _sequence_pool),
    "video pool": (3, _video_pool),
    "wide pool": (2, _wide_pool),
    "any window": (6, _any_window),
}
"""{family: (weight, function that draws one of it)}."""
