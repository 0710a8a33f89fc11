"""Which arguments are the input."""

import jax
import jax.numpy as jnp
import pytest
from read_programs import flat

import cnnjax
from cnnjax.programs.arguments import inputs

X, W, V = jnp.ones((2, 3)), jnp.ones((3, 3)), jnp.ones((3, 3))
IMAGE, KERNEL = jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4))


def found(f, *args):
    """The numbers of the arguments that are the input, of a function of trees."""
    leaves, tree = jax.tree.flatten(args)
    program = flat(lambda *leaves: f(*jax.tree.unflatten(tree, leaves)), *leaves)
    owners = [number for number, arg in enumerate(args) for _ in jax.tree.leaves(arg)]
    owner = dict(zip(program.arguments, owners, strict=True))
    return sorted({owner[variable] for variable in inputs(program, owner)})


@pytest.mark.parametrize(
    ("f", "args", "expected"),
    [
        (lambda x, w: x @ w, (X, W), [0]),
        (lambda p, x: p["w"] @ x, ({"w": W, "b": W}, X.T), [1]),
        (lambda x, p: x @ p["w"], (X, {"w": W, "b": W}), [0]),
        (lambda w, v, x: jnp.tanh(x @ w) @ v, (W, V, X), [2]),
        (lambda v, x, w: jnp.tanh(w @ x) @ v, (V, W, V), [2]),
        (lambda x: x @ W, (X,), [0]),
        (lambda x: W @ (x - V), (W,), [0]),
        (lambda w, x: cnnjax.conv2d(x, w), (KERNEL, IMAGE), [1]),
        (lambda w, x: cnnjax.conv2d(x, jnp.where(KERNEL > 0, w, jnp.zeros_like(w))), (KERNEL, IMAGE), [1]),
        (lambda w, x: cnnjax.conv2d_transpose(x, w), (KERNEL, jnp.ones((1, 5, 5, 4))), [1]),
        (lambda p, x, s: (x * s["scale"][None]) @ p["w"] @ p["v"], ({"w": W, "v": V}, X, {"scale": X[0], "n": X}), [1]),
        (lambda x: jnp.tanh(x), (X,), [0]),
        (lambda x, w, b: x @ w + b[None], (X, W, X[0]), [0]),
        (lambda x, w, y: x @ w - y, (X, W, X), [0, 2]),
        (lambda x, w, t: jnp.sin(t) * (x @ w), (X, W, 1.0), [0, 2]),
    ],
)  # fmt: skip
def test_weights_are_what_products_multiply_the_input_by(f, args, expected):
    assert found(f, *args) == expected
