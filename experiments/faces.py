"""Where are the faces in a picture? The three networks of MTCNN propose, refine and confirm them.

Expected: the face in matplotlib's sample picture, at a probability of 0.9998, with eyes, nose and mouth. P-Net, whose
dense layers are convolutions, judges all windows of all sizes at once, for a fraction of the multiply-accumulates that
window by window would take. Run time on two cores: half a minute, most of it compilation; --quick: only large faces.

    pip download --no-deps facenet-pytorch==2.6.0        # the published weights, 1.9 MB
    python experiments/faces.py --weights facenet_pytorch-2.6.0-py3-none-any.whl --out docs
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from drawing import save
from faces_figure import draw
from faces_networks import WHEEL, read_weights
from faces_search import cost, find_faces
from matplotlib import cbook, image
from record import configuration, environment, make_folders, save_json

QUESTION = (__doc__ or "").partition("\n")[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Find the faces, draw them, and write the record; return the exit status."""
    options = parse(arguments)
    folders = make_folders(options.out)
    started = time.perf_counter()
    picture = read_picture(options.picture)
    faces = find_faces(picture, read_weights(options.weights), smallest=100 if options.quick else 20)
    spent = cost(faces.levels, picture.shape[:2])
    counts = {name: len(boxes) for name, boxes in faces.boxes.items()}
    print(
        f"P-Net judges {spent['windows']:,} windows in {len(faces.levels)} sizes of the picture, in "
        f"{spent['at_once'] / 1e6:,.0f} million multiply-accumulates; one by one they would take "
        f"{spent['one_by_one'] / spent['at_once']:.1f} times as many.\n"
        f"It proposes {counts['pnet']} windows, R-Net keeps {counts['rnet']}, O-Net confirms {counts['onet']}:"
    )
    for box, probability in zip(faces.boxes["onet"], faces.probabilities["onet"], strict=True):
        print(f"  a face at {', '.join(f'{edge:.0f}' for edge in box)} (left, top, right, bottom), {probability:.4f}")
    save({"faces": draw(picture, faces)}, folders.figures)
    record = {
        "question": QUESTION,
        "environment": environment(),
        "config": configuration(options, "out"),
        "picture": "matplotlib's sample data, grace_hopper.jpg" if options.picture is None else options.picture.name,
        "levels": [{"scale": round(level.scale, 4), "windows": level.probability.size} for level in faces.levels],
        "cost": spent,
        "candidates": counts,
        "faces": [
            {
                "box": np.round(box, 2).tolist(),
                "probability": round(float(p), 6),
                "points": np.round(points, 2).tolist(),
            }
            for box, p, points in zip(faces.boxes["onet"], faces.probabilities["onet"], faces.points, strict=True)
        ],
        "seconds": round(time.perf_counter() - started, 1),
    }
    save_json(folders.records / "faces.json", record)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument(
        "--weights",
        type=Path,
        default=Path(WHEEL),
        help=f"the facenet-pytorch wheel, or a folder with its .pt files ({WHEEL})",
    )
    parser.add_argument("--picture", type=Path, help="a picture of your own (matplotlib's grace_hopper.jpg)")
    parser.add_argument("--out", type=Path, default=Path("results/faces"), help="folder of the figure and the record")
    parser.add_argument("--quick", action="store_true", help="search only for faces of 100 pixels and more")
    return parser.parse_args(arguments)


def read_picture(path: Path | None) -> np.ndarray:
    """A picture as uint8 (H, W, 3)."""
    try:
        pixels = image.imread(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) if path is None else path)
    except OSError as error:
        raise SystemExit(f"--picture: {error}") from error
    pixels = pixels if pixels.dtype == np.uint8 else np.round(255 * pixels).astype(np.uint8)
    return pixels[..., :3] if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


if __name__ == "__main__":
    sys.exit(main())
