"""Densities, distribution functions, entropies, divergences, bijectors and samplers of TFP, distrax and numpyro."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
from case import Case, f32, f64, normal, positive_definite

TRIANGLE = f32([1.2, 0, 0], [0.3, 0.9, 0], [-0.4, 0.2, 1.1])


def tfp_cases() -> Iterator[Case]:
    from tensorflow_probability.substrates import jax as tfp

    d, b, math = tfp.distributions, tfp.bijectors, tfp.math
    kernels = math.psd_kernels

    def case(name, f, *args, **more):
        return Case("tfp", name, f, args, **more)

    yield case(
        "bessel_kve in order and argument",
        math.bessel_kve,
        f64(1.7, 0.6),
        f64(2.5, 1.2),
        formula=lambda v, z: mp.besselk(v, z) * mp.exp(z),
    )
    yield case(
        "log_bessel_kve in the argument",
        lambda z: math.log_bessel_kve(2.25, z),
        f64(0.7, 4.0),
        formula=lambda z: mp.log(mp.besselk(mp.mpf("2.25"), z)) + z,
    )
    yield case(
        "bessel_iv_ratio",
        lambda z: math.bessel_iv_ratio(f64(1.5, 2.0), z),
        f64(0.7, 4.0),
    )
    yield case(
        "Skellam.log_prob",
        lambda a, c: d.Skellam(a, c).log_prob(f32(1, -2)),
        f32(1.3, 2.0),
        f32(0.7, 3.0),
    )
    yield case(
        "InverseGaussian.log_prob",
        lambda x, m, c: d.InverseGaussian(m, c).log_prob(x),
        f32(0.4, 2.0),
        f32(1.3, 0.8),
        f32(0.7, 2.2),
        formula=lambda x, m, c: (mp.log(c / (2 * mp.pi * x**3)) - c * (x - m) ** 2 / (m**2 * x)) / 2,
    )
    yield case(
        "NormalInverseGaussian.log_prob",
        lambda x, m, t, s, c: d.NormalInverseGaussian(m, t, s, c).log_prob(x),
        *(f64(v) for v in (0.4, 0.1, 1.7, 1.6, 0.9)),
    )
    yield case(
        "GeneralizedExtremeValue.cdf",
        lambda x, m, s, c: d.GeneralizedExtremeValue(m, s, c).cdf(x),
        f32(0.4),
        f32(0.1),
        f32(1.3),
        f32(0.4),
        formula=lambda x, m, s, c: mp.exp(-((1 + c * (x - m) / s) ** (-1 / c))),
    )
    yield case(
        "ExponentiallyModifiedGaussian.log_prob",
        lambda x, m, s, r: d.ExponentiallyModifiedGaussian(m, s, r).log_prob(x),
        f64(0.4),
        f64(0.1),
        f64(1.3),
        f64(0.8),
        formula=lambda x, m, s, r: (
            mp.log(r / 2) + r * (m - x) + r**2 * s**2 / 2 + mp.log(mp.erfc((m + r * s**2 - x) / (mp.sqrt(2) * s)))
        ),
    )
    yield case(
        "StudentT.cdf",
        lambda x, df: d.StudentT(df, 0.0, 1.0).cdf(x),
        f64(0.4, -1.3),
        f64(3.5, 2.2),
        formula=lambda x, v: (
            mp.mpf(1) / 2 + mp.sign(x) * mp.betainc(mp.mpf(1) / 2, v / 2, 0, x**2 / (x**2 + v), regularized=True) / 2
        ),
    )
    yield case("StudentT.cdf at the median", lambda x, df: d.StudentT(df, 0.0, 1.0).cdf(x), f64(0.0), f64(3.5))
    yield case(
        "Kumaraswamy.entropy",
        lambda a, c: d.Kumaraswamy(a, c).entropy(),
        f32(1.3, 2.0),
        f32(0.7, 3.0),
        formula=lambda a, c: 1 - 1 / c + (1 - 1 / a) * (mp.digamma(c + 1) + mp.euler) - mp.log(a * c),
    )
    yield case(
        "KL of two Gammas",
        lambda a, c, e, g: d.kl_divergence(d.Gamma(a, c), d.Gamma(e, g)),
        f32(1.3),
        f32(0.7),
        f32(2.2),
        f32(1.9),
        formula=lambda a, c, e, g: (
            (a - e) * mp.digamma(a) - mp.loggamma(a) + mp.loggamma(e) + e * (mp.log(c) - mp.log(g)) + a * (g - c) / c
        ),
    )
    yield case(
        "Zipf.log_prob",
        lambda p: d.Zipf(p).log_prob(f64(1.0, 4.0)),
        f64(1.7, 3.2),
    )
    yield case(
        "VonMisesFisher.log_prob",
        lambda m, c: d.VonMisesFisher(m / jnp.linalg.norm(m), c).log_prob(f64(0.6, 0.0, 0.8)),
        f64(0.3, 0.5, 0.9),
        f64(2.5),
    )
    yield case(
        "WishartTriL.log_prob",
        lambda t: d.WishartTriL(5.0, TRIANGLE).log_prob(t @ t.T),
        TRIANGLE + 0.1 * np.eye(3, dtype=np.float32),
    )
    yield case(
        "HiddenMarkovModel.log_prob",
        lambda z, t, m: d.HiddenMarkovModel(
            d.Categorical(logits=z), d.Categorical(logits=t), d.Normal(m, 1.0), num_steps=5
        ).log_prob(f32(0.1, 1.2, 0.3, -0.4, 2.0)),
        normal(40, 2),
        normal(41, 2, 2),
        normal(42, 2),
    )
    yield case(
        "GaussianProcess.log_prob",
        lambda a, length: d.GaussianProcess(
            kernels.MaternFiveHalves(a, length), np.linspace(0, 1, 5)[:, None], observation_noise_variance=0.1
        ).log_prob(f64(0.1, 1.2, 0.3, -0.4, 2.0)),
        f64(1.2)[0],
        f64(0.4)[0],
    )
    yield case(
        "MaternThreeHalves matrix with zero distances",
        lambda x: kernels.MaternThreeHalves(1.3, 0.6).matrix(x, x),
        normal(43, 3, 2, dtype=np.float64),
    )
    yield case(
        "RationalQuadraticSpline bijector",
        lambda w, h, s, x: b.RationalQuadraticSpline(
            jax.nn.softmax(w) * 4, jax.nn.softmax(h) * 4, jax.nn.softplus(s), range_min=-2.0
        ).forward(x),
        normal(44, 4),
        normal(45, 4),
        normal(46, 3),
        f32(-1.3, 0.2, 1.4),
    )
    yield case(
        "CorrelationCholesky bijector and its log det",
        lambda x: (b.CorrelationCholesky().forward(x), b.CorrelationCholesky().forward_log_det_jacobian(x)),
        normal(47, 3),
    )
    yield case("LambertWTail bijector", lambda x: b.LambertWTail(*f64(0.0, 1.0, 0.3)).inverse(x), f64(0.5, -1.2, 3.0))
    yield case(
        "lambertw",
        math.lambertw,
        f64(0.5, 3.0, -0.2),
        formula=lambda x: mp.lambertw(x).real,
    )
    yield case(
        "igammainv",
        math.igammainv,
        f64(1.5, 3.0),
        f64(0.3, 0.8),
    )
    yield case("betaincinv", math.betaincinv, f64(1.5, 3.0), f64(2.0, 0.7), f64(0.3, 0.8))
    yield case("owens_t", math.owens_t, f64(0.5, -1.0), f64(0.3, 0.8), formula=lambda h, a: _owens_t(h, a))
    yield case("soft_sorting_matrix", lambda x: math.soft_sorting_matrix(x, 0.5), f32(0.3, 2.0, 1.1))
    yield case(
        "TruncatedNormal.sample",
        lambda m, s: d.TruncatedNormal(m, s, -1.0, 2.0).sample(seed=jax.random.key(3)),
        f32(0.3),
        f32(1.4),
    )


def _owens_t(h, a):
    return mp.quad(lambda t: mp.exp(-(h**2) * (1 + t**2) / 2) / (1 + t**2), [0, a]) / (2 * mp.pi)


def distrax_cases() -> Iterator[Case]:
    import distrax as dx

    def case(name, f, *args, **more):
        return Case("distrax", name, f, args, **more)

    probabilities = f32(0.2, 0.3, 0.5)
    yield case(
        "Beta.log_prob",
        lambda x, a, b: dx.Beta(a, b).log_prob(x),
        f32(0.3, 0.8),
        f32(1.3, 2.0),
        f32(0.7, 3.0),
        formula=lambda x, a, b: (a - 1) * mp.log(x) + (b - 1) * mp.log(1 - x) - mp.log(mp.beta(a, b)),
    )
    yield case(
        "Gamma.entropy",
        lambda a, r: dx.Gamma(a, r).entropy(),
        f32(1.3, 12.0),
        f32(0.7, 3.0),
        formula=lambda a, r: a - mp.log(r) + mp.loggamma(a) + (1 - a) * mp.digamma(a),
    )
    yield case(
        "Gumbel.log_cdf",
        lambda x, m, s: dx.Gumbel(m, s).log_cdf(x),
        f32(0.3, -1.0),
        f32(0.2, 0.0),
        f32(1.3, 0.8),
        formula=lambda x, m, s: -mp.exp(-(x - m) / s),
    )
    yield case(
        "Laplace.log_prob at its location",
        lambda x, m, s: dx.Laplace(m, s).log_prob(x),
        f32(0.2, -1.0),
        f32(0.2, 0.0),
        f32(1.3, 0.8),
    )
    yield case("VonMises.log_prob", lambda x, m, c: dx.VonMises(m, c).log_prob(x), f64(0.3), f64(1.2), f64(2.5))
    yield case("VonMises.entropy", lambda c: dx.VonMises(0.0, c).entropy(), f32(2.5, 0.4))
    yield case("VonMises.cdf", lambda x, c: dx.VonMises(0.3, c).cdf(x), f64(0.7), f64(2.5))
    yield case(
        "KL of Dirichlets",
        lambda a, b: dx.Dirichlet(a).kl_divergence(dx.Dirichlet(b)),
        f32([1.3, 2.0, 0.7], [4.0, 1.0, 2.0]),
        f32([1.0, 1.0, 1.0], [0.5, 3.0, 2.2]),
    )
    yield case(
        "Categorical.entropy, one probability zero", lambda p: dx.Categorical(probs=p).entropy(), f32(0.5, 0.5, 0.0)
    )
    yield case("Multinomial.log_prob", lambda z: dx.Multinomial(6, logits=z).log_prob(f32(1, 2, 3)), normal(50, 3))
    yield case(
        "MixtureSameFamily.log_prob",
        lambda z, m, s: dx.MixtureSameFamily(dx.Categorical(logits=z), dx.Normal(m, s)).log_prob(f32(0.3)[0]),
        normal(51, 3),
        normal(52, 3),
        f32(0.5, 1.0, 2.0),
    )
    yield case(
        "MultivariateNormalFullCovariance.log_prob",
        lambda x, m, c: dx.MultivariateNormalFullCovariance(m, (c + c.T) / 2).log_prob(x),
        normal(53, 3),
        normal(54, 3),
        positive_definite(55, 3),
    )
    yield case(
        "RationalQuadraticSpline, forward and log det",
        lambda p, x: dx.RationalQuadraticSpline(p, -2.0, 2.0).forward_and_log_det(x),
        normal(56, 13),
        f32(0.3)[0],
    )
    yield case(
        "UnconstrainedAffine, inverse and log det",
        lambda m, y: dx.UnconstrainedAffine(m, f32(0.1, 0.2, 0.3)).inverse_and_log_det(y),
        positive_definite(57, 3),
        normal(58, 3),
    )
    yield case(
        "MaskedCoupling",
        lambda w, x: dx.MaskedCoupling(
            np.array([1, 0, 1], bool), lambda h: h @ w, lambda p: dx.ScalarAffine(p, log_scale=0.1 * p)
        ).forward_and_log_det(x),
        normal(59, 3, 3),
        normal(60, 3),
    )
    yield case(
        "Quantized normal log_prob",
        lambda m, s: dx.Quantized(dx.Normal(m, s), -3.0, 3.0).log_prob(f32(1.0, -2.0)),
        f32(0.3)[0],
        f32(1.2)[0],
    )
    yield case(
        "HMM forward, log probability",
        lambda z, t, m: dx.HMM(
            dx.Categorical(logits=z), dx.Categorical(logits=jnp.asarray(t)), dx.Normal(jnp.asarray(m), 1.0)
        ).forward(jnp.array([0.3, 1.0, -0.5]))[1],
        normal(61, 2),
        normal(62, 2, 2),
        normal(63, 2),
    )
    yield case(
        "ClippedNormal.log_prob at a clip",
        lambda m, s: dx.ClippedNormal(m, s, -1.0, 1.0).log_prob(f32(1.0, 0.2)),
        f32(0.3)[0],
        f32(1.2)[0],
    )
    yield case(
        "KL of LogStddevNormals",
        lambda a, b: dx.LogStddevNormal(a, b).kl_divergence(dx.LogStddevNormal(b, a)),
        f32(0.3, -0.4),
        f32(0.1, 0.5),
    )
    yield case("Categorical.cdf of probs", lambda p: dx.Categorical(probs=p).cdf(np.array(1)), probabilities)


def numpyro_cases() -> Iterator[Case]:
    import numpyro.distributions as d
    from numpyro.distributions import transforms

    def case(name, f, *args, **more):
        return Case("numpyro", name, f, args, **more)

    yield case(
        "StudentT.log_prob",
        lambda x, v, m, s: d.StudentT(v, m, s).log_prob(x),
        f32(0.3),
        f32(3.5),
        f32(0.1),
        f32(1.4),
        formula=lambda x, v, m, s: (
            mp.loggamma((v + 1) / 2)
            - mp.loggamma(v / 2)
            - mp.log(v * mp.pi) / 2
            - mp.log(s)
            - (v + 1) / 2 * mp.log(1 + ((x - m) / s) ** 2 / v)
        ),
    )
    yield case(
        "StudentT.cdf",
        lambda x, v: d.StudentT(v, 0.0, 1.0).cdf(x),
        f64(0.4, -1.3),
        f64(3.5, 2.2),
        formula=lambda x, v: (
            mp.mpf(1) / 2 + mp.sign(x) * mp.betainc(mp.mpf(1) / 2, v / 2, 0, x**2 / (x**2 + v), regularized=True) / 2
        ),
    )
    yield case(
        "Kumaraswamy.log_prob",
        lambda x, a, b: d.Kumaraswamy(a, b).log_prob(x),
        f32(0.3, 0.8),
        f32(1.3, 2.0),
        f32(0.7, 3.0),
        formula=lambda x, a, b: mp.log(a * b) + (a - 1) * mp.log(x) + (b - 1) * mp.log1p(-(x**a)),
    )
    yield case(
        "NegativeBinomial2.log_prob",
        lambda m, c: d.NegativeBinomial2(m, c).log_prob(np.array([0, 3])),
        f32(1.3, 2.0),
        f32(0.7, 3.0),
    )
    yield case(
        "DirichletMultinomial.log_prob",
        lambda a: d.DirichletMultinomial(a, 6).log_prob(np.array([1, 2, 3])),
        f32(1.3, 2.0, 0.7),
    )
    yield case(
        "LKJCholesky.log_prob",
        lambda c: d.LKJCholesky(3, c).log_prob(np.linalg.cholesky(f32([1, 0.3, 0.1], [0.3, 1, -0.2], [0.1, -0.2, 1]))),
        f32(1.7)[0],
    )
    yield case(
        "TruncatedNormal.log_prob",
        lambda m, s, lo: d.TruncatedNormal(m, s, low=lo, high=3.0).log_prob(f32(0.7, 2.0)),
        f32(0.3)[0],
        f32(1.2)[0],
        f32(-0.5)[0],
    )
    yield case(
        "SineBivariateVonMises.log_prob",
        lambda a, b, c: d.SineBivariateVonMises(0.1, 0.2, a, b, c).log_prob(f64(0.4, -0.3)),
        f64(1.3)[0],
        f64(2.0)[0],
        f64(0.4)[0],
    )
    yield case(
        "OrderedLogistic.log_prob",
        lambda p, c: d.OrderedLogistic(p, c).log_prob(np.array(1)),
        f32(0.3)[0],
        f32(-0.5, 0.6, 1.8),
    )
    yield case(
        "GaussianRandomWalk.log_prob", lambda s, x: d.GaussianRandomWalk(s, 4).log_prob(x), f32(0.7)[0], normal(70, 4)
    )
    yield case(
        "CAR.log_prob",
        lambda a, t: d.CAR(0.0, a, t, np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0.0]])).log_prob(f64(0.3, 0.1, -0.4)),
        f64(0.4)[0],
        f64(1.3)[0],
    )
    yield case(
        "InverseGamma.cdf",
        lambda x, a, b: d.InverseGamma(a, b).cdf(x),
        f64(0.4, 2.0),
        f64(1.3, 2.2),
        f64(0.7, 1.6),
        formula=lambda x, a, b: mp.gammainc(a, b / x, mp.inf, regularized=True),
    )
    yield case(
        "Beta.cdf",
        lambda x, a, b: d.Beta(a, b).cdf(x),
        f64(0.4, 0.7),
        f64(1.3, 2.2),
        f64(0.7, 1.6),
        formula=lambda x, a, b: mp.betainc(a, b, 0, x, regularized=True),
    )
    yield case("Gamma.icdf of the rate", lambda r: d.Gamma(2.0, r).icdf(f64(0.3, 0.6)), f64(1.3, 0.7))
    yield case(
        "AsymmetricLaplace.log_prob, one at the location",
        lambda m, s, k: d.AsymmetricLaplace(m, s, k).log_prob(f32(0.3, 1.0)),
        f32(0.3)[0],
        f32(1.2)[0],
        f32(0.8)[0],
    )
    yield case(
        "LowRankMultivariateNormal.log_prob",
        lambda m, f, g: d.LowRankMultivariateNormal(m, f, g).log_prob(normal(71, 4)),
        normal(72, 4),
        normal(73, 4, 2),
        f32(0.5, 1.0, 2.0, 0.7),
    )
    yield case("ProjectedNormal.log_prob", lambda m: d.ProjectedNormal(m).log_prob(f32(0.6, 0.8)), f32(0.3, 1.2))
    yield case(
        "MultivariateStudentT.log_prob",
        lambda v, m: d.MultivariateStudentT(v, m, TRIANGLE).log_prob(normal(74, 3)),
        f32(4.0)[0],
        normal(75, 3),
    )
    yield case("ZeroSumNormal.log_prob", lambda s: d.ZeroSumNormal(s, (3,)).log_prob(f32(0.5, -0.2, -0.3)), f32(1.3)[0])
    yield case(
        "KL of Betas",
        lambda a, b, c, e: d.kl_divergence(d.Beta(a, b), d.Beta(c, e)),
        *(f32(v) for v in (1.3, 0.7, 2.2, 1.9)),
    )
    yield case(
        "StickBreakingTransform and its log det",
        lambda x: (
            transforms.StickBreakingTransform()(x),
            transforms.StickBreakingTransform().log_abs_det_jacobian(x, transforms.StickBreakingTransform()(x)),
        ),
        normal(76, 4),
    )
    yield case("CorrCholeskyTransform", lambda x: transforms.CorrCholeskyTransform()(x), normal(77, 6))
    yield case("Weibull.sample", lambda s, c: d.Weibull(s, c).sample(jax.random.key(5), (4,)), f32(1.3)[0], f32(0.8)[0])
    yield case(
        "ZeroInflatedNegativeBinomial2.log_prob",
        lambda g, m, c: d.ZeroInflatedNegativeBinomial2(m, c, gate=g).log_prob(np.array([0, 3])),
        f32(0.3)[0],
        f32(1.5)[0],
        f32(2.0)[0],
    )
