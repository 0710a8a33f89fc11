"""Finding faces: MTCNN's networks equal those of PyTorch, and the search does what it says."""

import json
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

import cnnjax

RECORD = Path(__file__).parents[2] / "docs" / "records" / "faces.json"


@pytest.fixture
def networks(experiment):
    return experiment("faces_networks")


@pytest.fixture
def search(experiment):
    return experiment("faces_search")


def random_weights(networks, draw):
    """Arrays by the names and in the layouts of facenet-pytorch, for each network."""
    arrays = {}
    for name, network in (("pnet", networks.p_net()), ("rnet", networks.r_net()), ("onet", networks.o_net())):
        arrays[name], shapes = {}, network.input_shapes()
        for layer_name, layer in network.layers:
            for key, shape in layer.parameter_shapes(shapes[layer_name]).items():
                torch_name = f"{layer_name}.{'weight' if key == 'w' else 'bias'}"
                torch_shape = (*shape[:-3:-1], *shape[:-2]) if len(shape) > 1 else shape
                arrays[name][torch_name] = draw.normal(0, 0.2, torch_shape).astype(np.float32)
    return arrays


def in_torch(arrays, size, heads):
    """The network in PyTorch as its authors wrote it: every layer in turn, dense layers on (width, height, maps)."""
    torch = pytest.importorskip("torch")
    given = {name: torch.from_numpy(array) for name, array in arrays.items()}
    pools = {12: [(2, 2)], 24: [(3, 2), (3, 2)], 48: [(3, 2), (3, 2), (2, 2)]}[size]

    def apply(x):
        functional, pooling = torch.nn.functional, list(pools)
        names = [name.removesuffix(".weight") for name in given if name.endswith(".weight")]
        for name in (name for name in names if name not in heads):
            w, b = given[f"{name}.weight"], given.get(f"{name}.bias")
            if name.startswith("prelu"):
                x = functional.prelu(x, w)
                if x.ndim == 4 and pooling:
                    x = functional.max_pool2d(x, *pooling.pop(0), ceil_mode=True)
            elif w.ndim == 4:
                x = functional.conv2d(x, w, b)
            else:
                x = functional.linear(x.permute(0, 3, 2, 1).flatten(1), w, b)
        if x.ndim == 4:
            return {head: functional.conv2d(x, given[f"{head}.weight"], given[f"{head}.bias"]) for head in heads}
        return {head: functional.linear(x, given[f"{head}.weight"], given[f"{head}.bias"]) for head in heads}

    return lambda x: {head: y.numpy() for head, y in apply(torch.from_numpy(x).permute(0, 3, 1, 2)).items()}


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("pnet", ("conv4_1", "conv4_2")),
        ("rnet", ("dense5_1", "dense5_2")),
        ("onet", ("dense6_1", "dense6_2", "dense6_3")),
    ],
)
def test_each_network_equals_pytorch(networks, name, heads):
    draw = np.random.default_rng(0)
    network = {"pnet": networks.p_net, "rnet": networks.r_net, "onet": networks.o_net}[name]()
    arrays, size = random_weights(networks, draw)[name], networks.SIZES[name]
    x = draw.normal(0, 1, (2, size, size, 3)).astype(np.float32)
    volumes = network.volumes(networks.from_facenet(network, arrays), x)
    for head, expected in in_torch(arrays, size, heads)(x).items():
        ours = np.asarray(volumes[head])
        expected = expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_p_net_on_a_picture_is_p_net_on_each_of_its_windows(networks, search):
    draw = np.random.default_rng(1)
    network = networks.p_net()
    params = network.init(jax.random.key(0))
    picture = draw.normal(0, 1, (19, 22, 3)).astype(np.float32)
    whole = np.asarray(networks.p_net(19, 22).apply(params, picture))
    rows, columns = whole.shape[:2]
    assert (rows, columns) == (5, 6)
    places = [(i, j) for i in range(4) for j in range(6)]  # the last row reads what ceil_mode adds beyond the edge
    crops = np.stack([picture[2 * i : 2 * i + 12, 2 * j : 2 * j + 12] for i, j in places])
    single = np.asarray(network.apply(params, crops))
    np.testing.assert_allclose(single[:, 0, 0], [whole[place] for place in places], atol=1e-5)


def test_a_picture_shrinks_as_pytorch_shrinks_it(search):
    torch = pytest.importorskip("torch")
    picture = np.random.default_rng(2).integers(0, 256, (23, 17, 3), np.uint8)
    tensor = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]
    for size in ((9, 12), (23, 17), (30, 40)):
        expected = torch.nn.functional.interpolate(tensor, size, mode="area")[0].permute(1, 2, 0)
        np.testing.assert_allclose(search.shrink(picture, *size), expected, atol=1e-4)


def test_of_boxes_that_overlap_the_most_probable_is_kept(search):
    boxes = np.array([[0, 0, 9, 9, 0.8], [1, 1, 10, 10, 0.9], [20, 0, 29, 9, 0.7], [21, 1, 23, 3, 0.6]])
    assert search.most_probable(boxes, 0.5).tolist() == [1, 2, 3]
    assert search.most_probable(boxes, 0.5, of_smaller=True).tolist() == [1, 2]
    assert search.most_probable(boxes[:0], 0.5).tolist() == []


def test_boxes_become_squares_with_the_same_centre(search):
    assert search.square(np.array([[0.0, 2, 4, 4]])).tolist() == [[0, 1, 4, 5]]


def test_a_run_writes_figure_and_record(experiment, networks, monkeypatch, tmp_path, capsys):
    """The weights are random, so what is found means nothing, but every stage is passed."""
    faces = experiment("faces")
    draw = np.random.default_rng(3)
    arrays = random_weights(networks, draw)
    models = {"pnet": networks.p_net(), "rnet": networks.r_net(), "onet": networks.o_net()}
    weights = {name: networks.from_facenet(network, arrays[name]) for name, network in models.items()}
    for name, head in (("pnet", "conv4_1"), ("rnet", "dense5_1"), ("onet", "dense6_1")):
        weights[name][head] = {"w": 0 * weights[name][head]["w"], "b": np.array([0, 3], np.float32)}  # always a face
        corrections = head.removesuffix("1") + "2"
        weights[name][corrections] = {key: 0 * value for key, value in weights[name][corrections].items()}
    monkeypatch.setattr(faces, "read_weights", lambda source: weights)
    monkeypatch.setattr(faces, "read_picture", lambda path: draw.integers(0, 256, (150, 110, 3), np.uint8))
    assert faces.main(["--quick", "--out", str(tmp_path)]) == 0
    assert "O-Net confirms" in capsys.readouterr().out
    record = json.loads((tmp_path / "records" / "faces.json").read_text())
    assert record["candidates"]["onet"] == len(record["faces"])
    assert (tmp_path / "figures" / "faces.png").exists()


def test_a_picture_without_faces_and_one_that_is_too_small(networks, search):
    models = {"pnet": networks.p_net(), "rnet": networks.r_net(), "onet": networks.o_net()}
    weights = {name: network.init(jax.random.key(0)) for name, network in models.items()}
    weights["pnet"]["conv4_1"] = {"w": 0 * weights["pnet"]["conv4_1"]["w"], "b": np.array([3, 0], np.float32)}
    found = search.find_faces(np.zeros((20, 30, 3), np.uint8), weights)
    assert {name: boxes.shape for name, boxes in found.boxes.items()} == dict.fromkeys(models, (0, 4))
    with pytest.raises(SystemExit, match="--picture: it has 30 x 20 pixels; at least 100"):
        search.find_faces(np.zeros((20, 30, 3), np.uint8), weights, smallest=100)


def test_pictures_are_read_as_three_maps_of_grey_levels(experiment, tmp_path):
    faces = experiment("faces")
    assert faces.read_picture(None).shape == (600, 512, 3)
    with pytest.raises(SystemExit, match=r"--picture: .*none\.jpg"):
        faces.read_picture(tmp_path / "none.jpg")


def test_missing_weights_are_named(networks, tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(SystemExit, match="pip download --no-deps facenet-pytorch"):
        networks.read_weights(tmp_path)
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("other.py", "")
    with pytest.raises(SystemExit, match=r"other.whl has no pnet.pt"):
        networks.read_weights(wheel)


def test_the_recorded_costs_are_those_of_the_networks(networks, search):
    record = json.loads(RECORD.read_text())
    window = cnnjax.summary(networks.p_net()).num_macs
    assert record["cost"]["one_by_one"] == window * sum(level["windows"] for level in record["levels"])
    (face,) = record["faces"]
    assert face["probability"] > 0.999
    left, top, right, bottom = face["box"]
    assert all(left < x < right and top < y < bottom for x, y in face["points"])
