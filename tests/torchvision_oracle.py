"""torchvision's own networks as an oracle, with random weights and running statistics."""

import functools
import importlib
import importlib.util

import numpy as np
import pytest

_DECLARED = []  # a library of operators lives as long as this list holds it


@functools.cache
def load_torchvision():
    """Import torchvision; beside a CPU build of PyTorch, the operators that it has in C++ are declared first."""
    torch = pytest.importorskip("torch")
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)
    return importlib.import_module("torchvision")


def build(name, **settings):
    """A network of torchvision in evaluation mode, its weights scaled so that values neither vanish nor explode."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = getattr(load_torchvision().models, name)(**settings)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if key.endswith("running_mean") or (key.endswith("bias") and value.ndim == 1):
                value.normal_(std=0.1)
            elif key.endswith("running_var") or (key.endswith("weight") and value.ndim == 1):
                value.uniform_(0.5, 1.5)
            elif key.endswith("layer_scale"):
                value.normal_()
    return module.eval()


def to_tensor(images):
    """Images (N, H, W, C) as PyTorch takes them, (N, C, H, W)."""
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.ascontiguousarray(np.transpose(images, (0, 3, 1, 2))))


def assert_close(ours, theirs, tolerance=1e-4):
    """Equal to a part of the largest value."""
    ours, theirs = np.asarray(ours), theirs.detach().numpy()
    assert ours.shape == theirs.shape
    largest = np.abs(theirs).max()
    assert 0 < largest < 1e6
    assert np.abs(ours - theirs).max() <= tolerance * largest
