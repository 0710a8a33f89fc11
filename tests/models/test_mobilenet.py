"""MobileNet: the published counts, and outputs and a training step equal to those of PyTorch."""

import pytest
from cases import normal
from published import check_counts, check_names, check_outputs, check_training_step, run
from torchvision_oracle import assert_close, build, to_tensor

from cnnjax import interop, models


@pytest.mark.parametrize(
    ("name", "parameters", "billions"),
    [
        ("mobilenet_v2", 3_504_872, 0.301),
        ("mobilenetv1_100", 4_231_976, 0.569),
    ],
)
def test_counts_are_the_published_ones(name, parameters, billions):
    check_counts(getattr(models, name)(), parameters, billions)


def test_outputs_of_v2_are_those_of_torchvision():
    check_names(models.mobilenet_v2(), "mobilenet_v2")
    check_outputs(models.mobilenet_v2(classes=10, size=33), build("mobilenet_v2", num_classes=10))


def test_a_training_step_of_v2_is_that_of_torchvision():
    check_training_step(models.mobilenet_v2(classes=10, size=33), build("mobilenet_v2", num_classes=10))


# The stages of V1: maps and number of blocks.
STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))


def make_v1(torch, classes):
    """A module of PyTorch with the layers and names of timm's mobilenetv1_100."""

    def norm(maps):
        return torch.nn.Sequential(torch.nn.BatchNorm2d(maps), torch.nn.ReLU6())

    def conv(maps_in, maps, kernel, stride=1, groups=1):
        return torch.nn.Conv2d(maps_in, maps, kernel, stride, kernel // 2, groups=groups, bias=False)

    layers, names, maps_in = [conv(3, 32, 3, 2), norm(32)], ["conv_stem", "bn1"], 32
    for stage, (maps, depth) in enumerate(STAGES):
        for i in range(depth):
            stride = 2 if stage > 0 and i == 0 else 1
            layers += [conv(maps_in, maps_in, 3, stride, maps_in), norm(maps_in), conv(maps_in, maps, 1), norm(maps)]
            names += [f"blocks.{stage}.{i}.{name}" for name in ("conv_dw", "bn1", "conv_pw", "bn2")]
            maps_in = maps
    layers += [torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()), torch.nn.Linear(1024, classes)]
    module = torch.nn.Sequential(*layers)
    renamed = dict(zip(map(str, range(len(layers))), [*names, "global_pool", "classifier"], strict=True))
    return module, renamed


def test_outputs_of_v1_are_those_of_the_same_layers_in_pytorch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module, renamed = make_v1(torch, classes=10)
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.ndim == 1:
                value.uniform_(0.5, 1.5)
    state = {
        f"{renamed[key.split('.')[0]]}.{key.split('.')[-1]}": value for key, value in module.eval().state_dict().items()
    }
    network = models.mobilenetv1_100(classes=10, size=33)
    images = normal((2, 33, 33, 3), "mobile", "float32")
    scores = run(network.apply, interop.from_torch(network, state), images)
    assert_close(scores, module(to_tensor(images)))
