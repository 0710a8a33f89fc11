"""The search for faces by MTCNN: P-Net at every size of a picture, then R-Net and O-Net on what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from faces_networks import SIZES, Weights, o_net, p_net, r_net

import cnnjax

FACTOR = 0.709  # between two sizes of the pyramid: half the area
THRESHOLDS = (0.6, 0.7, 0.7)  # of the probability, for the three networks
STRIDE = 2  # of P-Net, in pixels


@dataclass(frozen=True)
class Level:
    """P-Net on the picture at one size.

    Attributes:
        scale: the size of the picture, as a share of the original.
        probability: of a face in the window at each position, (rows, columns).
        corrections: how far the edges of the face are from those of the window, in windows, (rows, columns, 4).
    """

    scale: float
    probability: np.ndarray
    corrections: np.ndarray


@dataclass(frozen=True)
class Faces:
    """What each network leaves of the candidates: boxes (n, 4) as left, top, right, bottom, and their probabilities.

    Attributes:
        levels: P-Net at each size of the picture.
        boxes: of "pnet", "rnet" and "onet".
        probabilities: of these boxes.
        points: eyes, nose and corners of the mouth of the faces that O-Net confirms, (n, 5, 2) as x, y.
    """

    levels: tuple[Level, ...]
    boxes: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]
    points: np.ndarray


def find_faces(picture: np.ndarray, weights: Weights, smallest: int = 20) -> Faces:
    """Find the faces of at least `smallest` pixels in a picture, uint8 (H, W, 3)."""
    if min(picture.shape[:2]) < smallest:
        raise SystemExit(
            f"--picture: it has {picture.shape[1]} x {picture.shape[0]} pixels; at least {smallest} needed."
        )
    levels = tuple(propose(picture, weights, scale) for scale in scales(picture.shape[:2], smallest))
    found = [windows(level) for level in levels]
    kept = [boxes_and_scores[most_probable(boxes_and_scores, 0.5)] for boxes_and_scores in found]
    candidates = np.concatenate(kept)
    candidates = candidates[most_probable(candidates, 0.7)]
    boxes, probability = square(candidates[:, :4] + candidates[:, 5:] * edges(candidates)), candidates[:, 4]
    stages = {"pnet": (boxes, probability)}

    boxes, probability, corrections, _ = judge(picture, weights, "rnet", boxes)
    rows = most_probable(np.column_stack([boxes, probability]), 0.7)
    boxes = square(boxes[rows] + corrections[rows] * edges(boxes[rows], 1))
    stages["rnet"] = (boxes, probability[rows])

    boxes, probability, corrections, points = judge(picture, weights, "onet", boxes)
    corner, size = boxes[:, None, :2], edges(boxes, 1)[:, None, :2]
    points = corner + points.reshape(-1, 2, 5).swapaxes(1, 2) * size - 1
    boxes = boxes + corrections * edges(boxes, 1)
    rows = most_probable(np.column_stack([boxes, probability]), 0.7, of_smaller=True)
    stages["onet"] = (boxes[rows], probability[rows])
    return Faces(
        levels,
        {name: boxes for name, (boxes, _) in stages.items()},
        {name: scores for name, (_, scores) in stages.items()},
        points[rows],
    )


def scales(size: Sequence[int], smallest: int) -> list[float]:
    """The sizes at which the picture is searched: faces of `smallest` pixels fill 12 pixels, then larger ones do."""
    found, scale = [], SIZES["pnet"] / smallest
    while min(size) * scale >= SIZES["pnet"]:
        found.append(scale)
        scale *= FACTOR
    return found


def propose(picture: np.ndarray, weights: Weights, scale: float) -> Level:
    """P-Net on the whole picture at a size, in one pass."""
    height, width = (int(n * scale + 1) for n in picture.shape[:2])
    volumes = evaluate(p_net(height, width), weights["pnet"], shrink(picture, height, width)[None])
    return Level(scale, probability_of(volumes["conv4_1"])[0], np.asarray(volumes["conv4_2"])[0])


def windows(level: Level) -> np.ndarray:
    """The windows that P-Net takes for a face: (n, 9) of box, probability and corrections."""
    rows, columns = np.nonzero(level.probability >= THRESHOLDS[0])
    first = STRIDE * np.stack([columns, rows], axis=1) + 1
    boxes = np.floor(np.concatenate([first, first + SIZES["pnet"] - 1], axis=1) / level.scale)
    return np.column_stack([boxes, level.probability[rows, columns], level.corrections[rows, columns]])


def judge(picture: np.ndarray, weights: Weights, name: str, boxes: np.ndarray) -> tuple[np.ndarray, ...]:
    """R-Net or O-Net on each box: those that they confirm, their probabilities, corrections, and facial points."""
    network, heads = {
        "rnet": (r_net(), ("dense5_1", "dense5_2", "dense5_2")),
        "onet": (o_net(), ("dense6_1", "dense6_2", "dense6_3")),
    }[name]
    threshold, size = THRESHOLDS[1 + (name == "onet")], SIZES[name]
    crops = [(box, crop(picture, box)) for box in boxes]
    crops = [(box, part) for box, part in crops if part.size]
    if not crops:
        return np.zeros((0, 4)), np.zeros(0), np.zeros((0, 4)), np.zeros((0, 10))
    volumes = evaluate(network, weights[name], np.stack([shrink(part, size, size) for _, part in crops]))
    probability, corrections, points = (np.asarray(volumes[head]) for head in heads)
    probability = probability_of(probability)
    sure = probability > threshold
    return np.stack([box for box, _ in crops])[sure], probability[sure], corrections[sure], points[sure]


def evaluate(network: cnnjax.Network, params: Any, levels: np.ndarray) -> dict[str, jax.Array]:
    """Every volume of a network for pictures with grey levels 0 to 255, (N, H, W, 3)."""
    return jax.jit(network.volumes)(params, ((levels - 127.5) / 128).astype(np.float32))


def probability_of(scores: Any) -> np.ndarray:
    """The second of two softmax outputs: the probability of a face."""
    scores = np.asarray(scores, float)
    return 1 / (1 + np.exp(scores[..., 0] - scores[..., 1]))


def crop(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The part of a picture in a box, whose first pixel is 1; the box is cut at the edge of the picture."""
    left, top, right, bottom = np.trunc(box).astype(int)
    return picture[max(top, 1) - 1 : bottom, max(left, 1) - 1 : right]


def shrink(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture at another size; each pixel is the mean of those that it covers, as in adaptive average pooling."""
    rows, columns = (means(n, m) for n, m in zip(picture.shape[:2], (height, width), strict=True))
    return np.einsum("ih,hwc,jw->ijc", rows, picture.astype(float), columns, optimize=True)


def means(size: int, count: int) -> np.ndarray:
    """The matrix (count, size) that maps pixels to the means of equal parts of them."""
    first = np.arange(count) * size // count
    after = -(-(np.arange(count) + 1) * size // count)
    pixels = np.arange(size)
    parts = (pixels >= first[:, None]) & (pixels < after[:, None])
    return parts / parts.sum(axis=1, keepdims=True)


def edges(boxes: np.ndarray, more: int = 0) -> np.ndarray:
    """The width, height, width and height of boxes, `more` pixels added, (n, 4)."""
    return np.tile(boxes[:, 2:4] - boxes[:, :2] + more, 2)


def square(boxes: np.ndarray) -> np.ndarray:
    """The squares with the centres of boxes and their longer edges."""
    size = boxes[:, 2:4] - boxes[:, :2]
    corner = boxes[:, :2] + size / 2 - size.max(axis=1, keepdims=True) / 2
    return np.concatenate([corner, corner + size.max(axis=1, keepdims=True)], axis=1)


def most_probable(boxes: np.ndarray, most: float, *, of_smaller: bool = False) -> np.ndarray:
    """The rows of (n, 5 or more) of box and probability of which no more probable one covers more than a share.

    The share is the intersection over the union of two boxes, or over the smaller of them.
    """
    corners, left, kept = boxes[:, :4], np.argsort(-boxes[:, 4], kind="stable"), list[int]()
    more = 1 if of_smaller else 0
    area = np.prod(corners[:, 2:] - corners[:, :2] + more, axis=1)
    while left.size:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        overlap = np.minimum(corners[best, 2:], corners[left, 2:]) - np.maximum(corners[best, :2], corners[left, :2])
        common = np.prod(np.maximum(overlap + more, 0), axis=1)
        whole = np.minimum(area[best], area[left]) if of_smaller else area[best] + area[left] - common
        left = left[common <= most * whole]
    return np.array(kept, int)


def cost(levels: Sequence[Level], size: Sequence[int]) -> dict[str, int]:
    """Multiply-accumulates of P-Net on the whole pyramid, and window by window."""
    shapes = [tuple(int(n * level.scale + 1) for n in size) for level in levels]
    at_once = sum(cnnjax.summary(p_net(*shape)).num_macs for shape in shapes)
    positions = sum(level.probability.size for level in levels)
    return {"windows": positions, "at_once": at_once, "one_by_one": positions * cnnjax.summary(p_net()).num_macs}
