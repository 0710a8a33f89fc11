"""Exploring pages in a real browser: for networks with every layer and setting, they compute what cnnjax computes."""

import hashlib
import re

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax import Input, Network
from cnnjax.connections import from_rows
from cnnjax.exploring import Page, Picture, Variant, views
from cnnjax.exploring.page import _PARTS, MAX_PICTURES
from cnnjax.layers import (
    RBF,
    Activation,
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    MaxPool2D,
    StochasticDepth,
    Subsample2D,
)

COLOUR = Input((9, 12, 3), background=-1.0, foreground=2.0)
NETWORKS = [
    Network(
        "tables",
        COLOUR,
        {
            "c1": Conv2D(6, (3, 2), padding="SAME", groups=3, activation="relu"),
            "s2": Subsample2D((2, 3), activation="tanh"),
            "c3": Conv2D(4, 2, connections=from_rows([[0], [1, 5], [0, 2, 4], range(6)], 6), bias=False),
            "f4": Dense(7, activation="sigmoid", bias=False),
            "out": RBF(tuple(tuple(row) for row in np.eye(3, 7))),
        },
    ),
    Network(
        "paddings",
        COLOUR,
        {
            "c1": Conv2D(4, 3, stride=2, padding=((2, 0), (1, 3)), activation="gelu"),
            "p2": MaxPool2D(3, stride=2, padding=1, ceil_mode=True),
            "c3": Conv2D(5, 2, dilation=2, padding="CIRCULAR", activation="silu"),
            "p4": AvgPool2D(2, stride=1, padding="SAME", activation="scaled_tanh"),
            "c5": Conv2D(3, 3, padding="REFLECT"),
            "c6": Conv2D(3, 3, padding="EDGE", groups=3),
        },
    ),
    Network(
        "normalised",
        Input((9, 12, 3), background=(-1.0, -2.0, -3.0), foreground=(1.0, 2.5, 3.0)),
        {
            "c1": Conv2D(4, 3, bias=False),
            "n1": BatchNorm(activation="relu6"),
            "a2": Activation("hard_swish"),
            "s3": StochasticDepth(0.5),
            "c4": Conv2D(6, 2, activation="hard_sigmoid"),
            "p5": AdaptiveAvgPool2D((2, 4)),
            "p6": AdaptiveAvgPool2D(),
            "d7": Dropout(0.5),
            "n8": BatchNorm(),
            "out": Dense(3),
        },
    ),
    Network(
        "means",
        Input((7, 7, 1)),
        {
            "p1": AvgPool2D(3, stride=2, padding=1, ceil_mode=True, count_include_pad=True),
            "c2": Conv2D(40, 4),
            "out": Dense(30),
        },
    ),
]


def random_params(network, draw):
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: draw.normal(0, 0.5, leaf.shape).astype(np.float32), shapes)
    for layer in params.values():
        layer.update({name: np.abs(value) for name, value in layer.items() if name == "var"})
    return params


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda network: network.name)
def explored(request, tmp_path_factory):
    network, draw = request.param, np.random.default_rng(0)
    params = random_params(network, draw)
    height, width, maps = network.input.shape
    images = draw.integers(0, 256, (2, height - 2, width - 1, maps), np.uint8)
    path = cnnjax.explore(network, params, images, tmp_path_factory.mktemp("pages") / "page.html")
    return network, params, images, path


def volumes_on(page):
    found = page.evaluate("Object.fromEntries(Array.from(volumes, ([name, v]) => [name, Array.from(v.values)]))")
    return {name: np.array(values) for name, values in found.items()}


def test_every_volume_is_that_of_cnnjax(explored, open_page):
    network, params, images, path = explored
    page = open_page(path)
    page.get_by_role("button", name="Picture 1").click()
    wide = jax.tree.map(lambda leaf: leaf.astype(np.float64), params)
    expected = network.volumes(wide, network.input.prepare(images[1:2], "float64")[0])
    shown = volumes_on(page)
    assert list(shown) == list(expected)
    for name, volume in expected.items():
        np.testing.assert_allclose(shown[name], np.ravel(volume), rtol=1e-11, atol=1e-12, err_msg=name)


def test_parts_of_every_value_add_up_to_it(explored, open_page):
    network, _, _, path = explored
    page = open_page(path)
    for name, shape in list(network.shapes().items())[1:]:
        place = {
            "layer": name,
            "map": shape[-1] - 1,
            "row": 0,
            "column": max(0, shape[-2] - 1) if len(shape) > 1 else 0,
        }
        page.evaluate("place => pin(place)", place)
        value, computed = page.evaluate(
            "() => { const d = derive(network(), volumes, pinned); return [d.value, d.layer.f(d.preactivation)]; }"
        )
        assert computed == pytest.approx(value, rel=1e-9, abs=1e-12)
        shown = page.locator("#value").inner_text().replace("\N{MINUS SIGN}", "-")
        assert float(re.findall(r"-?\d+\.\d+", shown)[-1]) == pytest.approx(value, abs=0.00051)


def test_what_a_value_sees_is_its_receptive_field(explored, open_page):
    network, _, _, path = explored
    page = open_page(path)
    for name, shape in list(network.shapes().items())[1:]:
        at = (min(1, shape[0] - 1), shape[1] - 1) if len(shape) == 3 else (0, 0)
        place = {"layer": name, "map": 0, "row": at[0], "column": at[1]}
        field = page.evaluate("place => receptiveFields(network(), volumes, place).get('input')", place)
        rows, columns = cnnjax.layers.anatomy.receptive_field(network, name, at)
        assert field["rows"] == [rows.start, rows.stop - 1], name
        assert field["columns"] == [columns.start, columns.stop - 1], name


def test_the_tour_is_told_to_its_end(explored, open_page):
    *_, path = explored
    page = open_page(path)
    page.locator("#tour-start").click()
    told = 0
    while page.locator("#tour-panel").is_visible():
        assert "undefined" not in page.locator("#tour-text").inner_text()
        page.locator("#tour-next").click()
        told += 1
    assert told >= 6


def test_prepared_images_labels_and_names_of_classes(tmp_path, open_page):
    network = Network("small", Input((3, 3, 1)), {"out": Dense(2, bias=False)})
    params = {"out": {"w": np.stack([np.ones(9), -np.ones(9)], axis=1).astype(np.float32)}}
    images = np.stack([np.ones((3, 3, 1)), -np.ones((3, 3, 1))]).astype(np.float32)
    names = ["a </script> & b", "c"]
    page = open_page(
        cnnjax.explore(network, params, images, tmp_path / "page.html", labels=np.array([0, 0]), classes=names)
    )
    assert (
        "The network says a </script> & b. That is right. Its score is 9.0; next is c"
        in page.locator("#answer").inner_text()
    )
    page.get_by_role("button", name="a </script> & b").nth(1).click()
    assert "The network says c. That is wrong: it is a a </script> & b." in page.locator("#answer").inner_text()
    assert page.locator("#tour").is_hidden()
    assert page.locator("#variants").is_hidden()


def test_a_page_without_views_of_its_own_has_those_of_the_network():
    network = cnnjax.models.lenet_tutorial()
    picture = Picture(np.zeros((28, 28, 1), np.uint8), "nothing")
    variant = Variant(network, network.init(jax.random.key(0)))
    page = Page("A <title>", "", (variant,), (picture,), tuple("0123456789"), views(network)).html()
    assert "<title>A &lt;title&gt;</title>" in page
    assert "default-src 'none'" in page
    assert not re.search(r"/\* \w+\.(js|css|html) \*/", page)


def test_d3_is_the_published_file():
    digest = hashlib.sha256((_PARTS / "d3.min.js").read_bytes()).hexdigest()
    assert digest in (_PARTS / "README.md").read_text()


NETWORK = cnnjax.models.four_to_six()
IMAGES = np.zeros((1, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "LeNet"}, "a cnnjax Network"),
        ({"images": IMAGES[:, :, :, None].astype(float)[0]}, r"`images` .* expected uint8 \(N, h, w\), or prepared"),
        ({"images": [0]}, "`images` is a list"),
        ({"images": np.zeros((1, 29, 28), np.uint8)}, "at most 28 x 28 pixels"),
        ({"images": np.zeros((0, 28, 28), np.uint8)}, f"1 to {MAX_PICTURES} images"),
        ({"labels": [10]}, "`labels` .* numbers from 0 to 9"),
        ({"labels": [1, 2]}, "`labels` .* the class of each image"),
        ({"classes": ["a"]}, "`classes` is 1 names; expected 10 names"),
        ({"params": {}}, "`params` "),
        ({"path": "/no/such/folder/page.html"}, "`path` .* an existing folder"),
    ],
)
def test_errors_name_the_argument(changes, message, tmp_path):
    params = NETWORK.init(jax.random.key(0))
    arguments = {"network": NETWORK, "params": params, "images": IMAGES, "path": tmp_path / "page.html"} | changes
    labels = {name: arguments.pop(name) for name in ("labels", "classes") if name in arguments}
    with pytest.raises((ValueError, TypeError), match=message):
        cnnjax.explore(**arguments, **labels)
