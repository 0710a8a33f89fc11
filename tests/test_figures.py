import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import cnnjax
from cnnjax import figures
from cnnjax.connections import LENET5_C3
from cnnjax.layers import Conv2D, Dense, Input, MaxPool2D, Network

IMAGES = np.random.default_rng(0).integers(0, 255, (30, 28, 28), dtype=np.uint8)
LABELS = np.arange(30) % 10


@pytest.fixture(params=[cnnjax.models.lenet5, cnnjax.models.lenet_tutorial, cnnjax.models.four_to_six])
def network(request):
    return request.param()


@pytest.fixture
def params(network):
    return network.init(jax.random.key(0))


def pictures(figure):
    """The arrays of all images in a figure."""
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.get_images()]


def words(figure):
    texts = [text.get_text() for text in figure.texts]
    return " ".join([*texts, figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)])


def test_connection_table_draws_the_matrix_and_counts_the_links(tmp_path):
    figure = figures.connection_table(LENET5_C3, "S2 map", "C3 map")
    np.testing.assert_array_equal(pictures(figure)[0], LENET5_C3.matrix)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("C3 map", "S2 map", "60 of 96 links")
    labels = [text.get_text() for text in axes.texts]
    assert labels.count("feeds 10") == 6
    assert labels.count("3") == 6
    assert labels.count("4") == 9
    figure.savefig(tmp_path / "table.png")
    assert (tmp_path / "table.png").stat().st_size > 1000


def test_kernels_draw_a_slice_for_each_connected_pair(network, params):
    for name, layer in network.layers:
        if isinstance(layer, Conv2D):
            drawn = pictures(figures.kernels(network, params, name))
            assert len(drawn) == layer.table(network.input_shapes()[name]).num_links


def test_kernels_of_c3_are_the_weights_of_their_pair():
    network = cnnjax.models.lenet5()
    params = network.init(jax.random.key(1))
    drawn = pictures(figures.kernels(network, params, "c3"))
    w = np.asarray(params["c3"]["w"])
    expected = [w[:, :, c, o] for o in range(16) for c in LENET5_C3.rows[o]]
    assert len(drawn) == 60
    for a, b in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_kernels_of_a_grouped_convolution_stand_at_their_own_input_maps():
    network = Network("grouped", Input((6, 6, 4)), {"c1": Conv2D(6, 3, groups=2), "out": Dense(2)})
    params = network.init(jax.random.key(0))
    drawn = pictures(figures.kernels(network, params, "c1"))
    w = np.asarray(params["c1"]["w"])
    expected = [w[:, :, c, o] for o in range(6) for c in range(2)]
    for a, b in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_feature_maps_draw_every_map_of_every_volume(network, params):
    figure = figures.feature_maps(network, params, IMAGES[0], label=7)
    maps = sum(s[-1] for s in network.shapes().values() if len(s) == 3 and s[:2] != (1, 1))
    assert len(pictures(figure)) >= maps
    assert "right class 7" in words(figure)
    for name in network.shapes():
        assert name.upper() in words(figure)
    assert len(figures.feature_maps(network, params, network.input.prepare(IMAGES[:1])[0]).axes) == len(figure.axes)


def test_lenet5_is_drawn_beside_the_code_of_the_winner():
    network = cnnjax.models.lenet5()
    params = network.init(jax.random.key(0))
    winner = int(network.classify(params, network.input.prepare(IMAGES[:1]))[0])
    drawn = pictures(figures.feature_maps(network, params, IMAGES[0]))
    code = cnnjax.models.DIGIT_CODES[winner].reshape(12, 7)
    assert any(picture.shape == (12, 7) and np.array_equal(picture, code) for picture in drawn)


def test_of_a_deep_network_the_last_volume_of_each_size_is_drawn():
    layers = {f"c{i}": Conv2D(70, 3, padding="SAME") for i in range(12)} | {"p": MaxPool2D(2), "out": Dense(3)}
    network = Network("deep", Input((8, 8, 3)), layers)
    params = network.init(jax.random.key(0))
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    figure = figures.feature_maps(network, params, image)
    assert [text.get_text().split("\n")[0] for text in figure.texts[1:-1]][:4] == ["INPUT", "C11", "P", "OUT"]
    assert len([picture for picture in pictures(figure) if picture.shape == (8, 8)]) == 3 + 64
    chosen = figures.feature_maps(network, params, image, volumes=["c2"])
    expected = np.asarray(network.volumes(params, network.input.prepare(image[None])[0])["c2"])
    np.testing.assert_allclose(pictures(chosen)[5], expected[:, :, 5], rtol=1e-6)
    with pytest.raises(ValueError, match="`volumes` is with 'c99'"):
        figures.feature_maps(network, params, image, volumes=["c99"])
    assert len(pictures(figures.kernels(network, params, "c3"))) == 32 * 70


def test_hard_cases_name_their_classes(network, params):
    names = [f"the {digit}" for digit in range(10)]
    assert "the " in words(figures.hard_cases(network, params, IMAGES[:3], LABELS[:3], names))


def test_learning_curve_draws_what_it_is_given():
    history = [{"epoch": e, "loss": 8 / e, "train_error": 10 / e, "test_error": 9 / e} for e in (1, 2, 3)]
    figure = figures.learning_curve(history, "A title")
    loss_axes, error_axes = figure.axes
    np.testing.assert_allclose(loss_axes.lines[0].get_ydata(), [8, 4, 8 / 3])
    np.testing.assert_allclose(error_axes.lines[1].get_ydata(), [9, 4.5, 3])
    assert "3.00 %" in [text.get_text() for text in error_axes.texts]
    assert figure.get_suptitle() == "A title"


def test_an_error_rate_of_zero_is_drawn_too():
    history = [{"epoch": e, "loss": 8 / e, "train_error": 1.0, "test_error": 1.0 - e} for e in (0.5, 1)]
    loss_axes, error_axes = figures.learning_curve(history).axes
    assert (loss_axes.get_yscale(), error_axes.get_yscale()) == ("log", "linear")


def test_hard_cases_are_those_where_the_right_class_loses_by_most(network, params):
    figure = figures.hard_cases(network, params, IMAGES, LABELS)
    scores = np.asarray(network.apply(params, network.input.prepare(IMAGES)))
    scores = -scores if network.name == "LeNet-5" else scores
    lead = np.array([row[d] - np.delete(row, d).max() for row, d in zip(scores, LABELS, strict=True)])
    shown = pictures(figure)
    assert len(shown) == 24
    for picture, i in zip(shown, np.argsort(lead, kind="stable"), strict=False):
        np.testing.assert_array_equal(picture, IMAGES[i])
    assert f"({(lead < 0).sum()} misclassified" in words(figure)


def test_figures_touch_no_global_state(network, params):
    import matplotlib.pyplot as plt

    assert isinstance(figures.hard_cases(network, params, IMAGES[:2], LABELS[:2]), Figure)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: figures.connection_table(np.ones((2, 2), bool)), TypeError, "expected a ConnectionTable"),
        (lambda: figures.kernels(cnnjax.models.lenet5(), {}, "f6"), ValueError, r"\['c1', 'c3', 'c5'\]"),
        (lambda: figures.learning_curve([]), ValueError, "at least one epoch"),
    ],
)
def test_wrong_arguments_are_named(draw, error, message):
    with pytest.raises(error, match=message):
        draw()
