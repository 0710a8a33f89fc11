"""Special functions, densities, matrix functions and filters of jax.scipy."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import mpmath as mp
import numpy as np
from case import Case, f32, f64, normal, positive_definite


def scipy_cases() -> Iterator[Case]:
    from jax.scipy import linalg, signal, special, stats

    def case(name, f, *args, **more):
        return Case("jax.scipy", name, f, args, **more)

    half = mp.mpf(1) / 2
    yield case("expi", special.expi, f64(0.4, 2.5), formula=mp.ei)
    yield case("exp1", special.exp1, f32(0.4, 2.5), formula=mp.e1)
    yield case("expn", lambda x: special.expn(3, x), f32(0.4, 2.5), formula=lambda x: mp.expint(3, x))
    yield case("i1e", special.i1e, f32(0.4, -2.5, 12.0), formula=lambda x: mp.besseli(1, x) * mp.exp(-abs(x)))
    yield case("i0e at zero", special.i0e, f32(0.0, 1.0))
    yield case(
        "log_ndtr, far in the tail",
        special.log_ndtr,
        f64(-12.0, -0.5, 6.0),
        formula=lambda x: mp.log(mp.erfc(-x / mp.sqrt(2)) / 2),
    )
    yield case("ndtri", special.ndtri, f32(0.03, 0.5, 0.9), formula=lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1))
    yield case("erfcx", special.erfcx, f64(-1.0, 0.4, 12.0), formula=lambda x: mp.exp(x**2) * mp.erfc(x))
    yield case(
        "owens_t",
        special.owens_t,
        f64(0.5, -1.0),
        f64(0.3, 1.8),
        formula=lambda h, a: mp.quad(lambda t: mp.exp(-(h**2) * (1 + t**2) / 2) / (1 + t**2), [0, a]) / (2 * mp.pi),
    )
    yield case(
        "dawsn", special.dawsn, f64(0.4, 2.5), formula=lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-(x**2)) * mp.erfi(x)
    )
    yield case("fresnel", special.fresnel, f64(0.4, 2.5))
    yield case("sici", special.sici, f64(0.4, 2.5))
    yield case("hyp1f1", special.hyp1f1, f64(1.2), f64(2.3), f64(0.7), formula=mp.hyp1f1)
    yield case(
        "hyp2f1",
        lambda x: special.hyp2f1(1.2, 0.7, 2.3, x),
        f64(0.3, -0.6),
        formula=lambda x: mp.hyp2f1("1.2", "0.7", "2.3", x),
    )
    yield case("poch", special.poch, f64(1.2, 3.0), f64(0.4, 2.0), formula=lambda z, m: mp.gamma(z + m) / mp.gamma(z))
    yield case(
        "polygamma in the argument",
        lambda x: special.polygamma(2, x),
        f64(0.7, 3.1),
        formula=lambda x: mp.polygamma(2, x),
    )
    yield case("zeta", special.zeta, f64(2.3, 4.0), f64(1.5, 0.7), formula=mp.zeta)
    yield case(
        "gammaincc in both",
        special.gammaincc,
        f64(0.7, 3.1),
        f64(0.4, 5.0),
        formula=lambda a, x: mp.gammainc(a, x, mp.inf, regularized=True),
    )
    yield case(
        "betainc in the argument",
        lambda x: special.betainc(1.4, 2.2, x),
        f64(0.2, 0.8),
        formula=lambda x: mp.betainc(mp.mpf("1.4"), mp.mpf("2.2"), 0, x, regularized=True),
    )
    yield case("boxcox", special.boxcox, f64(0.7, 3.1), f64(0.4, -1.2), formula=lambda x, c: (x**c - 1) / c)
    yield case(
        "boxcox with lambda zero",
        special.boxcox,
        f64(0.7, 3.1),
        f64(0.0, 0.0),
        formula=lambda x, c: mp.log(x) * (1 if c == 0 else mp.expm1(c * mp.log(x)) / (c * mp.log(x))),
    )
    yield case("rel_entr", special.rel_entr, f32(0.7, 3.1), f32(0.4, 1.2), formula=lambda x, y: x * mp.log(x / y))
    yield case("entr at zero and inside", special.entr, f32(0.7, 3.1), formula=lambda x: -x * mp.log(x))
    yield case("wofz", lambda x: jnp.real(special.wofz(x + 0.5j)), f64(0.4, -1.3))
    yield case("multigammaln", lambda a: special.multigammaln(a, 3), f32(2.7, 5.1))
    yield case(
        "logsumexp with signs",
        lambda a, b: special.logsumexp(a, b=b, return_sign=True)[0],
        f32(0.7, 3.1, -0.2),
        f32(0.4, 1.2, -0.7),
    )
    yield case(
        "stats.t.logpdf",
        stats.t.logpdf,
        f32(0.4),
        f32(3.5),
        f32(0.1),
        f32(1.3),
        formula=lambda x, v, m, s: (
            mp.loggamma((v + 1) / 2)
            - mp.loggamma(v / 2)
            - mp.log(v * mp.pi) / 2
            - mp.log(s)
            - (v + 1) / 2 * mp.log(1 + ((x - m) / s) ** 2 / v)
        ),
    )
    yield case(
        "stats.vonmises.logpdf",
        stats.vonmises.logpdf,
        f64(0.4, -1.0),
        f64(2.5, 0.8),
        formula=lambda x, k: k * mp.cos(x) - mp.log(2 * mp.pi * mp.besseli(0, k)),
    )
    yield case(
        "stats.truncnorm.logcdf",
        stats.truncnorm.logcdf,
        f64(0.4),
        f64(-0.7),
        f64(1.9),
        formula=lambda x, a, b: mp.log((mp.ncdf(x) - mp.ncdf(a)) / (mp.ncdf(b) - mp.ncdf(a))),
    )
    yield case(
        "stats.gennorm.cdf",
        stats.gennorm.cdf,
        f64(0.4, -1.0),
        f64(1.5, 2.5),
        formula=lambda x, p: half + mp.sign(x) * mp.gammainc(1 / p, 0, abs(x) ** p, regularized=True) / 2,
    )
    yield case("stats.nbinom.logpmf in p", lambda p: stats.nbinom.logpmf(np.array([0, 3]), 2.5, p), f32(0.3, 0.6))
    yield case(
        "stats.multivariate_normal.logpdf",
        lambda x, m, c: stats.multivariate_normal.logpdf(x, m, (c + c.T) / 2),
        normal(180, 3),
        normal(181, 3),
        positive_definite(182, 3),
    )
    yield case(
        "stats.gaussian_kde",
        lambda data, x: stats.gaussian_kde(data)(x),
        normal(183, 6, dtype=np.float64),
        f64(0.2, 1.0),
    )
    yield case(
        "stats.chi2.logsf",
        stats.chi2.logsf,
        f64(1.4, 5.0),
        f64(2.5, 3.0),
        formula=lambda x, k: mp.log(mp.gammainc(k / 2, x / 2, mp.inf, regularized=True)),
    )
    yield case("linalg.expm", linalg.expm, normal(184, 3, 3))
    yield case(
        "linalg.sqrtm of a definite matrix", lambda a: jnp.real(linalg.sqrtm(a)), positive_definite(185, 3, np.float64)
    )
    yield case(
        "linalg.lu_solve(lu_factor)",
        lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b),
        positive_definite(188, 3),
        normal(189, 3),
    )
    yield case("linalg.qr", lambda a: linalg.qr(a, mode="economic"), normal(190, 4, 3, dtype=np.float64))
    yield case(
        "linalg.eigh of a symmetrised matrix",
        lambda a: linalg.eigh((a + a.T) / 2)[0],
        positive_definite(191, 4, np.float64),
    )
    yield case("linalg.svd, singular values", lambda a: linalg.svd(a, compute_uv=False), normal(192, 4, 3))
    yield case(
        "linalg.solve_sylvester",
        linalg.solve_sylvester,
        positive_definite(193, 3, np.float64),
        positive_definite(194, 2, np.float64),
        normal(195, 3, 2, dtype=np.float64),
    )
    yield case("linalg.polar", lambda a: linalg.polar(a)[0], positive_definite(196, 3, np.float64))
    yield case("linalg.toeplitz", lambda c: linalg.toeplitz(c), f32(1.0, 2.0, -0.3))
    yield case(
        "linalg.expm_frechet",
        lambda a, e: linalg.expm_frechet(a, e, compute_expm=False),
        normal(197, 3, 3),
        normal(198, 3, 3),
    )
    yield case(
        "linalg.eigh_tridiagonal, eigenvalues",
        lambda d, e: linalg.eigh_tridiagonal(d, e, eigvals_only=True),
        f64(1.0, 2.0, 4.0),
        f64(0.5, 0.3),
    )
    yield case("signal.fftconvolve", lambda a, b: signal.fftconvolve(a, b, "same"), normal(199, 6), normal(200, 3))
    yield case("signal.stft magnitude", lambda x: jnp.abs(signal.stft(x, nperseg=8)[2]), normal(201, 24))
    yield case("signal.welch", lambda x: signal.welch(x, nperseg=8)[1], normal(202, 24, dtype=np.float64))
    yield case("signal.detrend", signal.detrend, normal(203, 10))
