"""The verifier on functions that have nothing to do with this package: one line each."""

import jax
import numpy as np
import pytest

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads

pytestmark = pytest.mark.filterwarnings("ignore")  # what other libraries warn of while they are imported
X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def as_users_have_it(float32_world):
    """Let the libraries promote and broadcast as they do."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_a_flax_nnx_layer():
    nnx = pytest.importorskip("flax.nnx")
    layer = nnx.Sequential(nnx.Linear(3, 5, rngs=nnx.Rngs(0)), nnx.LayerNorm(5, rngs=nnx.Rngs(1)))
    graph, params = nnx.split(layer, nnx.Param)
    report = check_grads(lambda params, x: nnx.merge(graph, params)(x), (params, X), modes="rev")
    assert {"gradient (rev)"} <= {check.name for check in report.checks}


def test_equinox_error_if():
    eqx = pytest.importorskip("equinox")
    x = np.array([0.7, 1.2], np.float32)
    check_grads(lambda x: jax.numpy.log(eqx.error_if(x, (x <= 0).any(), "must be positive")), (x,), modes="rev")


def test_an_equinox_module():
    eqx = pytest.importorskip("equinox")
    module = eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
    check_grads(lambda module, x: jax.vmap(module)(x), (module, X), modes="rev")


def test_an_optax_loss():
    optax = pytest.importorskip("optax")
    labels = np.array([0, 2, 1, 1])
    check_grads(lambda x: optax.softmax_cross_entropy_with_integer_labels(x, labels).mean(), (X,))


@pytest.mark.parametrize("factor", [1.0, 1.001])
def test_a_torch_function_through_numpy(factor):
    torch = pytest.importorskip("torch")

    def forward(x):
        return torch.nn.functional.gelu(torch.from_numpy(np.array(x, np.float64))).numpy()

    def backward(x, y):
        tensor = torch.from_numpy(np.array(x, np.float64)).requires_grad_()
        torch.nn.functional.gelu(tensor).backward(torch.from_numpy(np.array(y, np.float64)))
        return factor * tensor.grad.numpy()

    def host(f, *arrays):
        dtype = arrays[0].dtype
        return jax.pure_callback(lambda *a: f(*a).astype(dtype), jax.ShapeDtypeStruct(X.shape, dtype), *arrays)

    gelu = jax.custom_vjp(lambda x: host(forward, x))
    gelu.defvjp(lambda x: (host(forward, x), x), lambda x, y: (host(backward, x, y),))
    if factor == 1.0:
        assert check_grads(gelu, (X,), modes="rev").ok
    else:
        with pytest.raises(GradientError):
            check_grads(gelu, (X,), modes="rev")
