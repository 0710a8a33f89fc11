"""Differential equations, roots, minima, linear systems and transport: diffrax, optimistix, lineax, jaxopt and OTT."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from case import Case, f32, f64, normal, positive_definite

STOPS = "stops at a tolerance"
ADAPTS = "its steps are adapted"


def diffrax_cases() -> Iterator[Case]:
    import diffrax as dx
    import optimistix

    def pendulum(t, y, p):
        return jnp.stack([y[1], -p[0] * jnp.sin(y[0]) - p[1] * y[1]])

    def solve(solver, y, p, term=None, dt0=0.05, t1=1.0, **more):
        return dx.diffeqsolve(term or dx.ODETerm(pendulum), solver, 0.0, t1, dt0, y, args=p, **more).ys

    def case(name, f, *args, **more):
        return Case("diffrax", name, f, args, **more)

    y32, p32 = f32(0.8, -0.3), f32(2.0, 0.4)
    y64, p64 = f64(0.8, -0.3), f64(2.0, 0.4)
    yield case("Euler", lambda y, p: solve(dx.Euler(), y, p), y32, p32)
    yield case("Heun", lambda y, p: solve(dx.Heun(), y, p), y64, p64)
    yield case("Tsit5, constant steps", lambda y, p: solve(dx.Tsit5(), y, p), y32, p32)
    yield case(
        "Tsit5, adaptive",
        lambda y, p: solve(dx.Tsit5(), y, p, stepsize_controller=dx.PIDController(1e-6, 1e-8)),
        y64,
        p64,
        approximate=ADAPTS,
    )
    yield case(
        "Dopri8, adaptive, DirectAdjoint",
        lambda y, p: solve(
            dx.Dopri8(),
            y,
            p,
            stepsize_controller=dx.PIDController(1e-6, 1e-8),
            adjoint=dx.DirectAdjoint(),
            max_steps=64,
        ),
        y64,
        p64,
        approximate=ADAPTS,
    )
    yield case(
        "Tsit5, BacksolveAdjoint",
        lambda y, p: solve(dx.Tsit5(), y, p, dt0=0.02, adjoint=dx.BacksolveAdjoint()),
        y64,
        p64,
        approximate="the adjoint equation is solved with steps of its own",
    )
    yield case(
        "Kvaerno5, constant steps",
        lambda y, p: solve(dx.Kvaerno5(root_finder=optimistix.Chord(1e-8, 1e-8)), y, p, dt0=0.1),
        y64,
        p64,
        approximate=STOPS,
    )
    yield case(
        "ImplicitEuler",
        lambda y, p: solve(dx.ImplicitEuler(optimistix.Newton(1e-8, 1e-8)), y, p, dt0=0.1),
        y64,
        p64,
        approximate=STOPS,
    )
    yield case(
        "ReversibleHeun, a dense solution",
        lambda y, p: dx.diffeqsolve(
            dx.ODETerm(pendulum), dx.ReversibleHeun(), 0.0, 1.0, 0.05, y, args=p, saveat=dx.SaveAt(dense=True)
        ).evaluate(0.37),
        y64,
        p64,
    )
    yield case(
        "SemiImplicitEuler",
        lambda q, v, k: (
            dx.diffeqsolve(
                (dx.ODETerm(lambda t, v, k: v), dx.ODETerm(lambda t, q, k: -k * q)),
                dx.SemiImplicitEuler(),
                0.0,
                1.0,
                0.05,
                (q, v),
                args=k,
            ).ys
        ),
        *(f32(v)[0] for v in (0.3, 1.2, 2.0)),
    )
    yield case(
        "LeapfrogMidpoint, saved at times",
        lambda y, p: solve(dx.LeapfrogMidpoint(), y, p, saveat=dx.SaveAt(ts=jnp.linspace(0.0, 1.0, 4))),
        y32,
        p32,
    )
    brownian = dx.VirtualBrownianTree(0.0, 1.0, 1e-3, (), jax.random.key(0))
    noise = dx.MultiTerm(
        dx.ODETerm(lambda t, y, p: -p[0] * y), dx.ControlTerm(lambda t, y, p: p[1] * jnp.cos(y), brownian)
    )
    yield case("EulerHeun of an SDE", lambda y, p: solve(dx.EulerHeun(), y, p, term=noise), y32, p32)
    yield case("ItoMilstein of an SDE", lambda y, p: solve(dx.ItoMilstein(), y, p, term=noise), y32, p32)
    times = np.linspace(0, 1, 5)
    yield case("LinearInterpolation", lambda ys: dx.LinearInterpolation(times, ys).evaluate(0.33), normal(130, 5, 2))
    yield case(
        "CubicInterpolation",
        lambda ys: dx.CubicInterpolation(times, dx.backward_hermite_coefficients(times, ys)).evaluate(0.1, 0.9),
        normal(131, 5, 2, dtype=np.float64),
    )


def optimistix_cases() -> Iterator[Case]:
    import optimistix as ox

    def case(name, f, *args, **more):
        return Case("optimistix", name, f, args, approximate=STOPS, **more)

    def cubic(y, a):
        return y**3 + a[0] * y - a[1]

    def root(solver, a, **more):
        return ox.root_find(cubic, solver, jnp.ones_like(a[0]), a, **more).value

    def bisected(a, tolerance):
        solver, bounds = ox.Bisection(tolerance, tolerance), {"lower": 0.0, "upper": 2.0}
        return ox.root_find(cubic, solver, 0.5, a, options=bounds).value

    def bowl(y, a):
        return jnp.sum((y - a) ** 2) + 0.5 * jnp.sum(y) ** 2 + 0.1 * jnp.sum(y**4)

    def minimum(solver, a):
        return ox.minimise(bowl, solver, jnp.zeros_like(a), a, max_steps=4096).value

    def residual(y, a):
        return jnp.stack([y[0] - a[0], jnp.exp(y[0]) * y[1] - a[1], y[0] * y[1] - a[2]])

    def fitted(solver, a):
        return ox.least_squares(residual, solver, jnp.ones(2, a.dtype), a, max_steps=4096).value

    a32, a64 = f32(1.5, 2.0), f64(1.5, 2.0)
    b32, b64 = f32(0.3, -0.8, 1.2), f64(0.3, -0.8, 1.2)
    yield case("Newton root", lambda a: root(ox.Newton(1e-5, 1e-5), a), a32)
    yield case("Newton root", lambda a: root(ox.Newton(1e-10, 1e-10), a), a64)
    yield case("Chord root", lambda a: root(ox.Chord(1e-8, 1e-8), a), a64)
    yield case(
        "Bisection root",
        lambda a: bisected(a, 1e-6),
        a32,
        in_float64=lambda a: bisected(a, 1e-14),
    )
    yield case(
        "fixed point of a tanh layer",
        lambda w, x: (
            ox.fixed_point(
                lambda y, args: jnp.tanh(args[0] @ y + args[1]),
                ox.FixedPointIteration(1e-6, 1e-6),
                jnp.zeros(3),
                (w, x),
            ).value
        ),
        0.3 * normal(140, 3, 3),
        normal(141, 3),
    )
    yield case("BFGS minimum", lambda a: minimum(ox.BFGS(1e-8, 1e-8), a), b64)
    yield case("LBFGS minimum", lambda a: minimum(ox.LBFGS(1e-8, 1e-8), a), b64)
    yield case("NonlinearCG minimum", lambda a: minimum(ox.NonlinearCG(1e-7, 1e-7), a), b64)
    yield case("GradientDescent minimum", lambda a: minimum(ox.GradientDescent(0.1, 1e-6, 1e-6), a), b32)
    yield case("NelderMead minimum", lambda a: minimum(ox.NelderMead(1e-5, 1e-5), a), b64)
    yield case("LevenbergMarquardt fit", lambda a: fitted(ox.LevenbergMarquardt(1e-10, 1e-10), a), b64)
    yield case(
        "GaussNewton fit",
        lambda a: fitted(ox.GaussNewton(1e-5, 1e-5), a),
        b32,
        in_float64=lambda a: fitted(ox.GaussNewton(1e-12, 1e-12), a),
    )
    yield case("Dogleg fit", lambda a: fitted(ox.Dogleg(1e-9, 1e-9), a), b64)


def lineax_cases() -> Iterator[Case]:
    import lineax as lx

    def case(name, f, *args, **more):
        return Case("lineax", name, f, args, **more)

    def solve(operator, b, solver=None):
        return lx.linear_solve(operator, b, solver or lx.AutoLinearSolver(well_posed=True)).value

    square, definite = positive_definite(150, 4) + 0.3 * normal(151, 4, 4), positive_definite(152, 4)
    double = square.astype(np.float64)
    b32, b64 = normal(153, 4), normal(153, 4, dtype=np.float64)
    tall = normal(154, 5, 3, dtype=np.float64)
    yield case("LU", lambda a, b: solve(lx.MatrixLinearOperator(a), b, lx.LU()), square, b32)
    yield case(
        "QR, least squares",
        lambda a, b: solve(lx.MatrixLinearOperator(a), b, lx.QR()),
        tall,
        normal(155, 5, dtype=np.float64),
    )
    yield case(
        "SVD, least squares",
        lambda a, b: solve(lx.MatrixLinearOperator(a), b, lx.SVD()),
        tall,
        normal(155, 5, dtype=np.float64),
    )
    yield case(
        "SVD, least norm",
        lambda a, b: solve(lx.MatrixLinearOperator(a.T), b, lx.SVD()),
        tall,
        normal(156, 3, dtype=np.float64),
    )
    yield case(
        "GMRES",
        lambda a, b: solve(lx.MatrixLinearOperator(a), b, lx.GMRES(1e-10, 1e-10)),
        double,
        b64,
        approximate=STOPS,
    )
    yield case(
        "BiCGStab",
        lambda a, b: solve(lx.MatrixLinearOperator(a), b, lx.BiCGStab(1e-10, 1e-10)),
        double,
        b64,
        approximate=STOPS,
    )
    yield case(
        "Normal equations by CG",
        lambda a, b: solve(lx.MatrixLinearOperator(a), b, lx.Normal(lx.CG(1e-10, 1e-10))),
        tall,
        normal(155, 5, dtype=np.float64),
        approximate=STOPS,
    )
    yield case(
        "Tridiagonal",
        lambda d, lo, up, b: solve(lx.TridiagonalLinearOperator(d, lo, up), b, lx.Tridiagonal()),
        f32(3, 4, 5, 3),
        f32(1, -1, 0.5),
        f32(0.3, 1, 1),
        b32,
    )
    yield case(
        "Triangular, the other triangle ignored",
        lambda a, b: solve(lx.MatrixLinearOperator(jnp.tril(a), lx.lower_triangular_tag), b, lx.Triangular()),
        square,
        b32,
    )
    yield case("Diagonal", lambda d, b: solve(lx.DiagonalLinearOperator(d), b), f32(3, 4, 5, 3), b32)
    yield case(
        "Cholesky of a symmetrised matrix",
        lambda a, b: solve(lx.MatrixLinearOperator((a + a.T) / 2, lx.positive_semidefinite_tag), b, lx.Cholesky()),
        definite,
        b32,
    )
    yield case(
        "JacobianLinearOperator",
        lambda x, b: solve(lx.JacobianLinearOperator(lambda y, _: jnp.sin(y) + 2 * y, x), b, lx.LU()),
        normal(157, 3),
        normal(158, 3),
    )
    yield case(
        "FunctionLinearOperator",
        lambda c, b: solve(
            lx.FunctionLinearOperator(lambda y: c * y + y.sum(), jax.ShapeDtypeStruct((3,), c.dtype)), b, lx.LU()
        ),
        f32(1.5, 2.0, 3.0),
        normal(158, 3),
    )
    yield case(
        "composed operator, mv",
        lambda a, d, x: (lx.MatrixLinearOperator(a) @ lx.DiagonalLinearOperator(d) + 2 * lx.MatrixLinearOperator(a)).mv(
            x
        ),
        square,
        f32(3, 4, 5, 3),
        b32,
    )


def jaxopt_cases() -> Iterator[Case]:
    import jaxopt as jo
    from jaxopt import projection

    def case(name, f, *args, **more):
        return Case("jaxopt", name, f, args, **more)

    design, target = normal(160, 6, 3, dtype=np.float64), normal(161, 6, dtype=np.float64)

    def ridge(w, c):
        return jnp.mean((design @ w - target) ** 2) / 2 + c * jnp.sum(w**2) / 2

    zeros = np.zeros(3)
    c = f64(0.3)[0]
    yield case(
        "GradientDescent ridge",
        lambda c: jo.GradientDescent(ridge, tol=1e-8, maxiter=5000).run(zeros, c).params,
        c,
        approximate=STOPS,
    )
    yield case(
        "LBFGS ridge", lambda c: jo.LBFGS(ridge, tol=1e-9, maxiter=500).run(zeros, c).params, c, approximate=STOPS
    )
    yield case("BFGS ridge", lambda c: jo.BFGS(ridge, tol=1e-9, maxiter=500).run(zeros, c).params, c, approximate=STOPS)
    yield case(
        "ProximalGradient lasso",
        lambda c: (
            jo.ProximalGradient(
                lambda w: jnp.mean((design @ w - target) ** 2) / 2, jo.prox.prox_lasso, tol=1e-10, maxiter=5000
            )
            .run(zeros, c)
            .params
        ),
        f64(0.05)[0],
        approximate=STOPS,
    )
    yield case(
        "ProjectedGradient on a simplex",
        lambda t: (
            jo.ProjectedGradient(
                lambda w, t: jnp.sum((design @ w - t) ** 2), projection.projection_simplex, tol=1e-9, maxiter=5000
            )
            .run(np.ones(3) / 3, None, t)
            .params
        ),
        target,
        approximate=STOPS,
    )
    yield case(
        "Bisection root",
        lambda a: (
            jo.Bisection(lambda x, a: x**3 + x - a, lower=0.0, upper=2.0, tol=1e-10, maxiter=60).run(None, a).params
        ),
        f64(1.7)[0],
        approximate=STOPS,
    )
    yield case(
        "Broyden root",
        lambda a: jo.Broyden(lambda x, a: x**3 + x - a, tol=1e-9).run(jnp.ones(2), a).params,
        f64(1.7, 2.3),
        approximate=STOPS,
    )
    yield case(
        "AndersonAcceleration",
        lambda a: (
            jo.AndersonAcceleration(lambda x, a: jnp.cos(a * x), tol=1e-9, maxiter=200).run(jnp.ones(2), a).params
        ),
        f64(0.7, 0.5),
        approximate=STOPS,
    )
    quadratic, linear = positive_definite(162, 3, np.float64), normal(163, 3, dtype=np.float64)
    yield case(
        "EqualityConstrainedQP",
        lambda q, c, b: jo.EqualityConstrainedQP().run(params_obj=(q, c), params_eq=(np.ones((1, 3)), b)).params.primal,
        quadratic,
        linear,
        f64(1.0),
        symmetric=True,
    )
    yield case(
        "OSQP",
        lambda c: (
            jo.OSQP(tol=1e-8, maxiter=8000)
            .run(params_obj=(quadratic, c), params_ineq=(np.eye(3), 0.3 * np.ones(3)))
            .params.primal
        ),
        linear,
        approximate=STOPS,
    )
    yield case(
        "GaussNewton fit",
        lambda t: (
            jo.GaussNewton(lambda w, t: jnp.tanh(design @ w) - t, tol=1e-10, maxiter=200).run(jnp.zeros(3), t).params
        ),
        0.3 * target,
        approximate=STOPS,
    )
    yield case("projection_simplex", projection.projection_simplex, f32(0.4, -0.3, 1.1, 0.2))
    yield case("projection_l2_ball, outside", lambda x: projection.projection_l2_ball(x, 1.0), f32(0.4, -0.9, 1.1))
    yield case(
        "projection_transport",
        lambda s: projection.projection_transport(s, (f64(0.4, 0.6), f64(0.3, 0.3, 0.4))),
        normal(164, 2, 3, dtype=np.float64),
        approximate=STOPS,
    )
    yield case("prox_elastic_net", lambda x: jo.prox.prox_elastic_net(x, (0.3, 0.2)), f32(0.4, -0.9, 0.1))
    yield case("isotonic regression", lambda y: jo.isotonic.isotonic_l2_pav(y), f32(0.4, 0.1, 1.1, 0.9, 2.0))


def ott_cases() -> Iterator[Case]:
    from ott.geometry import costs, geometry, pointcloud
    from ott.math import matrix_square_root, utils
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn
    from ott.tools import sinkhorn_divergence, soft_sort

    def case(name, f, *args, **more):
        return Case("ott", name, f, args, **more)

    x, y = normal(170, 5, 2, dtype=np.float64), normal(171, 4, 2, dtype=np.float64)
    weights = f64(0.1, 0.3, 0.2, 0.4)

    def solve(g, a=None, b=None, **more):
        return sinkhorn.Sinkhorn(threshold=1e-9, max_iterations=5000, **more)(linear_problem.LinearProblem(g, a, b))

    yield case(
        "Sinkhorn cost of a cost matrix",
        lambda c: solve(geometry.Geometry(c, epsilon=0.5)).reg_ot_cost,
        np.abs(normal(172, 3, 4, dtype=np.float64)),
        approximate=STOPS,
    )
    yield case(
        "Sinkhorn potentials, by weights",
        lambda b: solve(pointcloud.PointCloud(x, y, epsilon=0.5), b=b / b.sum()).reg_ot_cost,
        weights,
        approximate=STOPS,
    )
    yield case(
        "unbalanced Sinkhorn",
        lambda x: (
            sinkhorn.Sinkhorn(threshold=1e-9, max_iterations=5000)(
                linear_problem.LinearProblem(pointcloud.PointCloud(x, y, epsilon=0.5), tau_a=0.8, tau_b=0.9)
            ).reg_ot_cost
        ),
        x,
        approximate=STOPS,
    )
    yield case(
        "transport matrix", lambda x: solve(pointcloud.PointCloud(x, y, epsilon=1.0)).matrix, x, approximate=STOPS
    )
    yield case(
        "PNormP cost matrix", lambda x, y: pointcloud.PointCloud(x, y, cost_fn=costs.PNormP(1.5)).cost_matrix, x, y
    )
    yield case(
        "Bures cost",
        lambda a, b: costs.Bures(2)(a, b),
        np.concatenate([f64(0.3, 1.0), positive_definite(173, 2, np.float64).ravel()]),
        np.concatenate([f64(-0.2, 0.4), positive_definite(174, 2, np.float64).ravel()]),
        approximate=STOPS,
    )
    yield case(
        "matrix square root",
        lambda a: matrix_square_root.sqrtm_only(a),
        positive_definite(175, 3, np.float64),
        approximate=STOPS,
    )
    yield case("soft sort", lambda v: soft_sort.sort(v, epsilon=0.1), f64(0.3, 2.0, 1.1, -0.7), approximate=STOPS)
    tight = {"threshold": 1e-12, "max_iterations": 100000}
    yield case(
        "soft ranks",
        lambda v: soft_sort.ranks(v, epsilon=0.1),
        f64(0.3, 2.0, 1.1, -0.7),
        in_float64=lambda v: soft_sort.ranks(v, epsilon=0.1, **tight),
        approximate=STOPS,
    )
    yield case("logsumexp with weights", lambda v, b: utils.logsumexp(v, b=b), f64(0.3, 2.0, 1.1), f64(0.5, 1.0, 2.0))
    yield case("softmin", lambda v: utils.softmin(v, 0.5), f32(0.3, 2.0, 1.1))
    yield case("Cosine cost matrix", lambda x, y: pointcloud.PointCloud(x, y, cost_fn=costs.Cosine()).cost_matrix, x, y)
    yield case(
        "sinkhorn_divergence",
        lambda x: sinkhorn_divergence.sinkdiv(x, y, epsilon=0.5)[0],
        x,
        in_float64=lambda x: sinkhorn_divergence.sinkdiv(x, y, epsilon=0.5, solve_kwargs=tight)[0],
        approximate=STOPS,
    )
