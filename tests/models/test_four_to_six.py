"""The network of the question: four maps become six."""

import jax
import jax.numpy as jnp
import numpy as np
from cases import normal, parameters_of

import cnnjax
from cnnjax.models import four_to_six

NETWORK = four_to_six()


def test_four_maps_become_six_by_six_kernels_of_depth_four():
    assert NETWORK.shapes() == {
        "input": (28, 28, 1), "c1": (24, 24, 4), "s1": (12, 12, 4), "c2": (8, 8, 6), "s2": (4, 4, 6), "output": (10,)
    }  # fmt: skip
    rows = {row.name: row for row in cnnjax.summary(NETWORK).rows}
    assert rows["c2"].num_parameters == 606  # not 156, six flat kernels; nor 624, 24 slices with a bias each
    assert rows["c1"].num_parameters == 104
    params = jax.eval_shape(NETWORK.init, jax.random.key(0))
    assert params["c2"]["w"].shape == (5, 5, 4, 6)
    assert params["c2"]["b"].shape == (6,)


def test_every_map_of_c2_reads_every_map_of_s1_and_adds():
    params = parameters_of(NETWORK)
    x = jnp.asarray(normal((28, 28, 1), "image"))
    volumes = NETWORK.volumes(params, x)
    w, b = params["c2"]["w"], params["c2"]["b"]
    by_map = [cnnjax.conv2d(volumes["s1"][..., c : c + 1], w[:, :, c : c + 1]) for c in range(4)]
    total = sum(by_map) + b[None, None]
    np.testing.assert_allclose(volumes["c2"], cnnjax.scaled_tanh(total), rtol=1e-12, atol=1e-14)
    jacobian = jax.jit(jax.jacrev(lambda s: cnnjax.conv2d(s, w)[0, 0]))(volumes["s1"])
    assert np.any(np.asarray(jacobian) != 0, axis=(1, 2)).all()
    # The activation is applied to the sum: the sum of activated maps is something else.
    assert float(jnp.abs(sum(map(cnnjax.scaled_tanh, by_map)) - volumes["c2"]).max()) > 1e-3


def test_scores_are_classified_by_the_largest():
    params = parameters_of(NETWORK, "float32")
    x = jnp.asarray(normal((3, 28, 28, 1), "images", "float32"))
    np.testing.assert_array_equal(NETWORK.classify(params, x), np.argmax(NETWORK.apply(params, x), -1))
