"""Programs written out as one list of operations."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from read_programs import flat
from wrapped import with_jvp, with_vjp

import cnnjax
from cnnjax.programs.flattening import INDEX, POOL, REPEAT, STACK, scope_of

X, W = jnp.ones((2, 3)), jnp.ones((3, 3))


def names(program):
    return [operation.name for operation in program.operations]


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint, with_jvp, with_vjp, lambda f: jax.jit(jax.jit(f))])
def test_calls_are_replaced_by_what_they_contain(wrap):
    program = flat(wrap(lambda x, w: x @ w), X, W)
    (product,) = program.operations
    assert product.name == "dot_general"
    assert product.operands == (*program.arguments,)
    assert product.results == program.results
    assert program.captured == {}


def test_captured_arrays_are_found_wherever_they_are_used_and_numbers_are_not():
    program = flat(lambda x: jax.jit(lambda y: y @ W + 1.0)(x) @ W, X)
    (variable,) = program.captured
    assert program.captured[variable].shape == (3, 3)
    products = [operation for operation in program.operations if operation.name == "dot_general"]
    assert [product.operands[1] for product in products] == [variable, variable]
    (add,) = (operation for operation in program.operations if operation.name == "add")
    assert add.operands[1] is None


def test_a_scan_is_written_out_once_with_its_number_of_iterations():
    def f(x, ws):
        return lax.scan(lambda x, w: (lax.fori_loop(0, 4, lambda i, y: y @ w, x), x), x, ws)

    program = flat(f, X, jnp.ones((5, 3, 3)))
    index = next(operation for operation in program.operations if operation.name == INDEX)
    assert (index.shapes_in[0].shape, index.shapes_out[0].shape) == ((5, 3, 3), (3, 3))
    (product,) = (operation for operation in program.operations if operation.name == "dot_general")
    assert product.times == 20
    assert product.operands[1] == index.results[0]
    last = {operation.name: operation for operation in program.operations if operation.name in (REPEAT, STACK)}
    assert program.results == (last[REPEAT].results[0], last[STACK].results[0])
    assert last[STACK].shapes_out[0].shape == (5, 2, 3)
    assert program.notes == ()


def test_of_a_condition_the_larger_branch_is_written_out():
    branches = [lambda x, w: x, lambda x, w: x @ w @ w, lambda x, w: x @ w]
    program = flat(lambda i, x, w: lax.switch(i, branches, x, w), jnp.int32(0), X, W)
    assert names(program).count("dot_general") == 2
    assert program.notes == ("of a condition, the branch with the most multiply-accumulates is counted",)
    equal = flat(lambda i, x, w: lax.cond(i, lambda: x @ w, lambda: w[:2] @ w), True, X, W)
    assert equal.notes == ()


def test_the_body_of_a_while_loop_counts_once_and_a_note_says_so():
    program = flat(lambda x, w: lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ w, x), X, W)
    (product,) = (operation for operation in program.operations if operation.name == "dot_general")
    assert product.times == 1
    assert program.notes == ("the body of a while loop, whose number of iterations is not known, is counted once",)
    assert flat(lambda x: lax.while_loop(lambda x: x.sum() < 9, lambda x: x + 1, x), X).notes == ()


def test_what_is_not_written_out_is_noted():
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("i")
    f = jax.shard_map(lambda x: x @ x.T, mesh=mesh, in_specs=spec, out_specs=spec)
    assert flat(f, X).notes == ("the products inside shard_map are not counted",)


def test_a_callback_is_noted():
    f = lambda x: jax.pure_callback(lambda x: x, x, x)  # noqa: E731
    assert flat(f, X).notes == ("what pure_callback computes is not known, and not counted",)


def test_a_pool_of_cnnjax_ends_with_an_operation_that_says_what_it_is():
    program = flat(lambda x: cnnjax.avg_pool2d(cnnjax.max_pool2d(x, 3, stride=2)), jnp.ones((1, 9, 9, 2)))
    *_, last = program.operations
    pools = [operation for operation in program.operations if operation.name == POOL]
    assert [pool.params["kind"] for pool in pools] == ["MaxPool", "AvgPool"]
    assert last.results == program.results
    assert all(operation.within_pool for operation in program.operations if operation.name != POOL)


def test_the_reverse_pass_is_told_apart():
    program = flat(jax.grad(lambda w: jnp.tanh(X @ w).sum()), W)
    products = [operation for operation in program.operations if operation.name == "dot_general"]
    assert [product.in_reverse for product in products] == [False, True]


def test_scopes_are_joined_over_calls():
    def f(x):
        with jax.named_scope("outer"):
            return jax.jit(inner)(x)

    def inner(x):
        with jax.named_scope("inner"):
            return x + x

    for transform in (lambda f: f, jax.vmap, jax.jit):
        assert {operation.scope for operation in flat(transform(f), X).operations} == {"outer/inner"}


@pytest.mark.parametrize(
    ("stack", "scope"),
    [
        ("", ""),
        ("Net/Conv_0", "Net/Conv_0"),
        ("vmap(jvp(Net/Conv_0))", "Net/Conv_0"),
        ("transpose(jvp(Net))/vmap(Conv_0)", "Net/Conv_0"),
        ("jvp()/a", "a"),
        ("block(3x3)/conv", "block(3x3)/conv"),
    ],
)
def test_scopes_without_the_transformations_around_them(stack, scope):
    assert scope_of(stack) == scope
