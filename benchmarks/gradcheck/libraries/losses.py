"""Losses, projections and schedules of optax, and losses of rlax."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
from case import Case, f32, f64, normal

LABELS = np.array([2, 0, 1, 2])
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
PROBABILITIES = f32([0.2, 0.3, 0.5], [0.6, 0.3, 0.1])


def optax_cases() -> Iterator[Case]:
    import optax
    from optax import losses, projections

    def case(name, f, *args, **more):
        return Case("optax", name, f, args, **more)

    yield case(
        "huber_loss, one residual at delta",
        lambda p, t: losses.huber_loss(p, t, delta=1.0),
        f32(0.3, 2.0, -1.7, 1.0),
        f32(0.1, 1.0, 0.4, 0.2),
    )
    yield case(
        "log_cosh",
        losses.log_cosh,
        f32(0.3, 2.0, -1.7, 30.0),
        f32(0.1, 1.0, 0.4, 1.0),
        formula=lambda p, t: mp.log(mp.cosh(p - t)),
    )
    yield case(
        "sigmoid_binary_cross_entropy",
        losses.sigmoid_binary_cross_entropy,
        f32(0.3, -2.0, 1.7, 20.0),
        f32(0.0, 1.0, 0.4, 1.0),
        formula=lambda z, t: mp.log1p(mp.exp(z)) - t * z,
    )
    yield case(
        "sigmoid_focal_loss",
        lambda z, t: losses.sigmoid_focal_loss(z, t, alpha=0.25, gamma=2.0),
        f64(0.3, -2.0, 1.7),
        f64(0.0, 1.0, 1.0),
    )
    yield case(
        "poly_loss_cross_entropy", lambda z: losses.poly_loss_cross_entropy(z, ONE_HOT, epsilon=2.0), normal(1, 4, 3)
    )
    yield case("ctc_loss, padded", _ctc(losses.ctc_loss), normal(2, 2, 6, 5))
    yield case("cosine_distance", losses.cosine_distance, normal(3, 4, 3), normal(4, 4, 3))
    yield case("kl_divergence", losses.kl_divergence, np.log(PROBABILITIES), PROBABILITIES[::-1].copy())
    yield case("convex_kl_divergence", losses.convex_kl_divergence, np.log(PROBABILITIES), PROBABILITIES[::-1].copy())
    yield case("ntxent", lambda e: losses.ntxent(e, np.array([0, 1, 0, 1]), temperature=0.3), normal(5, 4, 6))
    yield case(
        "triplet_margin_loss",
        lambda a, p, n: losses.triplet_margin_loss(a, p, n, margin=0.7),
        *(normal(6 + i, 3, 4, dtype=np.float64) for i in range(3)),
    )
    yield case(
        "ranking_softmax_loss, masked",
        lambda z: losses.ranking_softmax_loss(
            z, f32([2, 0, 1, 0], [0, 1, 3, 1]), where=np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)
        ),
        normal(9, 2, 4),
    )
    yield case("multiclass_sparsemax_loss", lambda z: losses.multiclass_sparsemax_loss(z, LABELS), normal(10, 4, 3))
    yield case(
        "Fenchel-Young loss of logsumexp",
        lambda z, t: losses.make_fenchel_young_loss(jax.nn.logsumexp)(z, t),
        normal(11, 3),
        PROBABILITIES[0],
    )
    yield case("dice_loss", lambda z: losses.dice_loss(z, ONE_HOT), normal(12, 4, 3))
    yield case(
        "safe_softmax_cross_entropy, a logit of -inf",
        lambda z: losses.safe_softmax_cross_entropy(
            jnp.where(np.array([1, 1, 0], bool), z, -jnp.inf), f32([0.4, 0.6, 0], [1, 0, 0])
        ),
        normal(13, 2, 3),
    )
    yield case("projection_simplex", projections.projection_simplex, f32(0.4, -0.3, 1.1, 0.2))
    yield case("projection_l1_ball", lambda x: projections.projection_l1_ball(x, 1.0), f32(0.4, -0.9, 1.1, 0.05))
    yield case("projection_l2_ball, inside", lambda x: projections.projection_l2_ball(x, 3.0), f64(0.4, -0.9, 1.1))
    yield case(
        "adam update as a function of the gradient",
        lambda p, g: optax.apply_updates(p, optax.adam(0.1).update(g, optax.adam(0.1).init(p), p)[0]),
        f32(0.3, -1.2),
        f32(0.5, 2.0),
    )
    yield case(
        "clip_by_global_norm",
        lambda g: optax.clip_by_global_norm(1.0).update(g, optax.EmptyState())[0],
        {"a": f32(0.3, -1.2), "b": f32(2.0)},
    )


def _ctc(ctc_loss):
    paddings = np.zeros((2, 6), np.float32)
    paddings[1, 5] = 1
    label_paddings = f32([0, 0, 0], [0, 0, 1])
    return lambda z: ctc_loss(z, paddings, np.array([[1, 2, 2], [3, 1, 0]]), label_paddings)


def rlax_cases() -> Iterator[Case]:
    import rlax

    def case(name, f, *args, **more):
        return Case("rlax", name, f, args, **more)

    actions, discounts = np.array([0, 2, 1, 1]), f32(0.9, 0.9, 0.0, 0.9)
    rewards, q, values = normal(20, 4), normal(21, 4, 3), normal(22, 4)
    yield case(
        "q_learning, target not stopped",
        lambda q, r, p: jax.vmap(rlax.q_learning, (0, 0, 0, 0, 0, None))(q, actions, r, discounts, p, False),
        q,
        rewards,
        normal(23, 4, 3),
    )
    yield case(
        "lambda_returns, target not stopped",
        lambda r, v: rlax.lambda_returns(r, discounts, v, 0.8, stop_target_gradients=False),
        rewards,
        values,
    )
    yield case(
        "n_step_bootstrapped_returns",
        lambda r, v: rlax.n_step_bootstrapped_returns(r, discounts, v, 2, 0.9, False),
        rewards,
        values,
    )
    yield case(
        "vtrace errors",
        lambda v, w, r: rlax.vtrace(v, w, r, discounts, normal(24, 4).clip(0.2, 0.9), stop_target_gradients=False),
        values,
        normal(25, 4),
        rewards,
    )
    yield case(
        "policy_gradient_loss",
        lambda z: rlax.policy_gradient_loss(z, actions, rewards, f32(1, 1, 0, 1), use_stop_gradient=False),
        q,
    )
    yield case("entropy_loss", lambda z, w: rlax.entropy_loss(z, w), q, f32(1, 0.5, 0, 1))
    yield case(
        "clipped_surrogate_pg_loss",
        lambda ratio: rlax.clipped_surrogate_pg_loss(ratio, rewards, 0.2, use_stop_gradient=False),
        f32(1.1, 0.7, 1.5, 0.95),
    )
    yield case(
        "quantile_regression_loss",
        lambda d, t: rlax.quantile_regression_loss(d, f32(0.1, 0.5, 0.9), t, 1.0),
        f32(0.3, -1.2, 0.4),
        f32(0.9, -0.2, 2.4),
    )
    yield case(
        "categorical_l2_project of probabilities",
        lambda p: rlax.categorical_l2_project(f32(-0.7, 0.4, 1.3), p, f32(-1, 0, 1)),
        PROBABILITIES[0],
    )
    yield case(
        "signed_hyperbolic",
        rlax.signed_hyperbolic,
        f32(0.3, -2.0, 5.0),
        formula=lambda x: mp.sign(x) * (mp.sqrt(abs(x) + 1) - 1) + mp.mpf("0.001") * x,
    )
    yield case("signed_hyperbolic at zero", rlax.signed_hyperbolic, f32(0.0, 1.0))
    yield case("signed_parabolic", rlax.signed_parabolic, f64(0.3, -2.0, 5.0))
    yield case("transform_to_2hot", lambda x: rlax.transform_to_2hot(x, -2.0, 2.0, 5), f32(0.3, -1.6, 1.2))
    yield case(
        "gaussian_diagonal logprob",
        lambda s, m, d: rlax.gaussian_diagonal().logprob(s, m, d),
        normal(28, 3),
        normal(29, 3),
        f32(0.5, 1.0, 2.0),
    )
    yield case(
        "truncated_generalized_advantage_estimation",
        lambda r, v: rlax.truncated_generalized_advantage_estimation(r, discounts, 0.9, v, False),
        rewards,
        normal(30, 5),
    )
    yield case("expectile_loss", lambda p, t: rlax.expectile_loss(p, t, 0.3), f32(0.3, -1.2), f32(0.9, -2.0))
