"""The mixture against plain float64 NumPy: densities, moments, steps of expectation maximisation, scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal

from decocc_vo.embedding.mixture import (
    _RADII,
    GRADES,
    Mixture,
    Prior,
    Stars,
    _moments,
    _normal,
    fit_mixture,
    score_stars,
)

K = 8  # Gaussians of the field, and rows of every table here: one program is compiled
ROWS = 1024


def linear_about(z):
    """Where the embedding of each star is linear: for every place between zero and the star the formulas hold."""
    return 0.9 * z


def grades(n):
    """Grades that have nothing to do with anything else."""
    return np.arange(n) % GRADES


def as_stars(z, cov, xy, weight, rows=ROWS, about=None, grade=None):
    """Stars padded to ``rows`` with rows of weight zero, as the search pads them."""
    missing = rows - len(z)
    about = linear_about(z) if about is None else about
    grade = grades(len(z)) if grade is None else grade
    return Stars(
        *(
            jnp.asarray(np.concatenate([a, b]), jnp.float32)
            for a, b in (
                (z, np.zeros((missing, 3))),
                (cov, np.tile(np.eye(3), (missing, 1, 1))),
                (about, np.zeros((missing, 3))),
                (xy, np.full((missing, 2), 9e3)),
                (weight, np.zeros(missing)),
            )
        ),
        jnp.asarray(np.append(grade, np.zeros(missing)), jnp.int32),
    )


def to_jax(record):
    return type(record)(*(jnp.asarray(v, jnp.float32) for v in record))


def to_numpy(record):
    return type(record)(*(np.asarray(v, float) for v in record))


def prior(scatter=0.05**2, strength=20.0, field=0.1**2, field_strength=10.0, floor=0.0, largest=3.0):
    return Prior(scatter * np.eye(3), strength, np.full(3, field), field_strength, np.full(3, floor), largest)


def scene(n=700, members=120, seed=0, spread=1.0):
    """A cluster in a field, in the embedding, and a start near the truth."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) < members
    true = np.where(kind[:, None], rng.normal([0.5, -0.4, 0.8], 0.06, (n, 3)), rng.normal(0, 1, (n, 3)))
    root = rng.normal(0, 0.05, (n, 3, 3))
    cov = root @ root.transpose(0, 2, 1) + 1e-4 * np.eye(3)
    z = true + np.einsum("nij,nj->ni", np.linalg.cholesky(cov), rng.normal(0, 1, (n, 3)))
    r = np.where(kind, 0.2 * np.sqrt(rng.uniform(0, 0.9, n) / 0.5), np.sqrt(rng.uniform(0, 1, n)))
    angle = rng.uniform(0, 2 * np.pi, n)
    xy = spread * np.stack([r * np.cos(angle) + 0.1 * kind, r * np.sin(angle)], axis=1)
    field_mean = rng.normal(0, 0.8, (K, 3))
    start = Mixture(
        np.array([0.45, -0.35, 0.75]),
        0.1**2 * np.eye(3),
        np.zeros(2),
        0.3,
        -1.5,
        np.linspace(0.07, 0.13, GRADES),
        field_mean,
        np.tile(0.5 * np.eye(3), (K, 1, 1)),
        rng.dirichlet(np.full(K, 10.0), GRADES),
    )
    return (z, cov, xy, np.ones(n)), start, kind


def moments(z, cov, share, mean, scatter):
    return _moments(_normal(z, mean, scatter + cov), share, mean, scatter)


# The reference: float64, star by star where that is clearer than fast.


def log_density(x, mean, cov):
    offset = x - mean
    distance2 = np.sum(offset * np.linalg.solve(cov, offset[..., None])[..., 0], axis=1)
    return -0.5 * (distance2 + np.linalg.slogdet(cov)[1] + 3 * np.log(2 * np.pi))


def reference_moments(x, cov, share, mean, scatter):
    """One step of extreme deconvolution, Bovy, Hogg & Roweis 2011, equations 14 to 16."""
    total = cov + scatter
    gain = scatter @ np.linalg.inv(total)
    place = mean + np.einsum("nij,nj->ni", gain, x - mean)
    remaining = scatter - gain @ scatter
    new_mean = share @ place / share.sum()
    off = new_mean - place
    outer = off[:, :, None] * off[:, None, :] + remaining
    return new_mean, np.einsum("n,nij->ij", share, outer) / share.sum()


def measured(z, cov):
    """Motions and parallaxes themselves, in units of the embedding's scale, with their covariance."""
    about = linear_about(z)
    slope = np.cosh(about)
    return np.sinh(about) + (z - about) * slope, cov * slope[:, :, None] * slope[:, None, :]


def measured_cluster(model):
    """Mean and scatter of the cluster there."""
    slope = np.cosh(model.mean)
    return np.sinh(model.mean), model.scatter * slope[:, None] * slope


def reference_expectation(stars, model):
    z, cov, xy, _ = stars
    fraction, field_weight = model.fraction[grades(len(z))], model.field_weight[grades(len(z))]
    unit, unit_cov = measured(z, cov)
    mean, scatter = measured_cluster(model)
    profile = -2 * np.log1p(np.sum((xy - model.centre) ** 2, axis=1) / model.radius**2) - model.log_norm
    kinematic = log_density(unit, mean, scatter + unit_cov) + np.log(fraction)
    kinematic += np.log(np.cosh(linear_about(z))).sum(axis=1)  # a density in the embedding
    components = [
        log_density(z, m, s + cov) + np.log(w) + np.log1p(-fraction)
        for m, s, w in zip(model.field_mean, model.field_scatter, field_weight.T, strict=True)
    ]
    return kinematic, profile, np.stack(components, axis=1)


def reference_step(stars, model, held):
    """One step of the whole, without floors."""
    z, cov, xy, weight = stars
    kinematic, profile, components = reference_expectation(stars, model)
    field = logsumexp(components, axis=1)
    total = np.logaddexp(kinematic + profile, field)
    member = weight * np.exp(kinematic + profile - total)
    shares = weight[:, None] * np.exp(components - total[:, None])
    n = member.sum()
    mean, scatter = reference_moments(*measured(z, cov), member, *measured_cluster(model))
    slope = 1 / np.sqrt(1 + mean**2)
    mean, scatter = np.arcsinh(mean), scatter * slope[:, None] * slope
    scatter = (n * scatter + held.strength * held.scatter) / (n + held.strength)
    robust = member / (1 + np.sum((xy - model.centre) ** 2, axis=1) / model.radius**2)
    centre = robust @ xy / robust.sum()
    centre *= min(1, 0.5 / np.hypot(*centre))
    excluded = weight * (expit(kinematic - field) < 0.02) + 1e-4 * (weight - member)
    best = (-np.inf,)
    for radius in np.asarray(_RADII, float):
        log_profile = -2 * np.log1p(np.sum((xy - centre) ** 2, axis=1) / radius**2)
        norm = np.log(np.exp(log_profile) @ excluded / excluded.sum())
        if radius <= held.largest:
            best = max(best, (member @ log_profile - norm * n, radius, norm))
    moments = [
        reference_moments(z, cov, share, m, s)
        for share, m, s in zip(shares.T, model.field_mean, model.field_scatter, strict=True)
    ]
    count = shares.sum(axis=0)
    field_scatter = [
        (c * s + held.field_strength * np.diag(held.field_variance)) / (c + held.field_strength)
        for c, (_, s) in zip(count, moments, strict=True)
    ]
    # Five members and twenty field stars of each grade are as those of all.
    all_weights, own = (count + 1) / (count + 1).sum(), [grades(len(z)) == grade for grade in range(GRADES)]
    fraction = np.array([(member[g].sum() + 5) / (weight[g].sum() + 5 * weight.sum() / n) for g in own])
    weights = np.array([(shares[g].sum(axis=0) + 20 * all_weights) / (shares[g].sum() + 20) for g in own])
    field_mean = np.array([m for m, _ in moments])
    return Mixture(mean, scatter, centre, *best[1:], fraction, field_mean, np.array(field_scatter), weights)


def test_normal_is_the_normal_of_scipy():
    rng = np.random.default_rng(0)
    root = rng.normal(0, 1, (40, 3, 3)) * np.exp(rng.normal(0, 2, (40, 1, 3)))
    cov = root @ root.transpose(0, 2, 1) + 1e-3 * np.eye(3)
    x, mean = rng.normal(0, 2, (2, 40, 3))
    with jax.enable_x64(True):
        normal = jax.tree.map(np.asarray, jax.jit(_normal)(jnp.asarray(x), jnp.asarray(mean), jnp.asarray(cov)))
    expected = [multivariate_normal.logpdf(a, m, c) for a, m, c in zip(x, mean, cov, strict=True)]
    np.testing.assert_allclose(normal.log_density, expected, rtol=1e-8)
    inverse = np.linalg.inv(cov)
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    for values, (i, j) in zip(normal.inverse, pairs, strict=True):
        np.testing.assert_allclose(values, inverse[:, i, j], rtol=1e-6, atol=1e-9 * np.abs(inverse).max())
    solved = np.linalg.solve(cov, (x - mean)[..., None])[..., 0]
    np.testing.assert_allclose(np.stack(normal.solved, axis=1), solved, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(normal.distance2, np.sum(solved * (x - mean), axis=1), rtol=1e-8)


@settings(max_examples=30)
@given(
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.lists(st.floats(-0.9, 0.9), min_size=3, max_size=3),
    st.lists(st.floats(-2, 1), min_size=3, max_size=3),
)
def test_normal_in_float32_keeps_its_digits(offset, corr, log_sigma):
    r12, r13, r23 = np.array(corr) * 0.55  # any three of these make a valid matrix
    sigma = 10.0 ** np.array(log_sigma)
    cov = np.array([[1, r12, r13], [r12, 1, r23], [r13, r23, 1]]) * sigma * sigma[:, None]
    offset = np.array(offset) * sigma
    normal = jax.jit(_normal)(jnp.asarray(offset, jnp.float32), jnp.zeros(3), jnp.asarray(cov, jnp.float32))
    assert float(normal.log_density) == pytest.approx(multivariate_normal.logpdf(offset, None, cov), rel=1e-4, abs=1e-3)
    assert float(normal.distance2) >= 0


def test_normal_of_a_broken_covariance_is_finite():
    cov = jnp.asarray([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert np.isfinite(float(_normal(jnp.ones(3), jnp.zeros(3), cov).log_density))


def test_moments_are_those_of_extreme_deconvolution():
    (z, cov, _, _), start, kind = scene(seed=3)
    share = np.random.default_rng(1).uniform(0, 1, len(z)) * np.where(kind, 1, 0.1)
    with jax.enable_x64(True):
        mean, scatter = jax.jit(moments)(z, cov, share, start.mean, start.scatter)
    expected_mean, expected_scatter = reference_moments(z, cov, share, start.mean, start.scatter)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-10)
    np.testing.assert_allclose(scatter, expected_scatter, rtol=1e-8, atol=1e-14)


def test_moments_of_several_components_are_each_ones():
    (z, cov, _, _), start, _ = scene(n=60, members=20, seed=4)
    shares = np.random.default_rng(2).dirichlet(np.ones(K), len(z))
    with jax.enable_x64(True):
        several = z[:, None], cov[:, None], shares, start.field_mean, start.field_scatter
        means, scatters = jax.jit(moments)(*several)
    for k in range(K):
        mean, scatter = reference_moments(z, cov, shares[:, k], start.field_mean[k], start.field_scatter[k])
        np.testing.assert_allclose(means[k], mean, rtol=1e-9)
        np.testing.assert_allclose(scatters[k], scatter, rtol=1e-8, atol=1e-13)


def test_deconvolution_takes_the_errors_out():
    """Of one component whose width is mostly the stars' errors, the intrinsic width is found."""
    rng = np.random.default_rng(5)
    n, intrinsic = 1000, 0.1
    sigma = rng.uniform(0.05, 0.4, (n, 3))
    z = rng.normal(0.3, intrinsic, (n, 3)) + rng.normal(0, sigma)
    (_, _, _, _), start, _ = scene()
    start = start._replace(mean=np.zeros(3), scatter=np.eye(3), fraction=np.full(GRADES, 0.9))
    cov = sigma[:, :, None] ** 2 * np.eye(3)
    stars = as_stars(z, cov, np.zeros((n, 2)), np.ones(n), about=np.full((n, 3), 0.3))
    model = to_numpy(fit_mixture(stars, to_jax(start), to_jax(prior(strength=0.01)), 200, 0))
    np.testing.assert_allclose(model.mean, 0.3, atol=0.03)
    np.testing.assert_allclose(np.sqrt(np.diag(model.scatter)), intrinsic, rtol=0.25)


@pytest.mark.parametrize("largest", [3.0, 0.1])
def test_one_step_is_the_references(largest):
    stars, start, _ = scene()
    weight = np.random.default_rng(7).uniform(0.5, 2, len(stars[0]))
    stars = (*stars[:3], weight)
    held = prior(largest=largest)
    model = to_numpy(fit_mixture(as_stars(*stars), to_jax(start), to_jax(held), 1, 0))
    expected = reference_step(stars, start, held)
    for name in Mixture._fields:
        np.testing.assert_allclose(getattr(model, name), getattr(expected, name), rtol=2e-3, atol=2e-4, err_msg=name)
    assert model.radius <= largest * 1.001


def test_warm_steps_hold_the_clusters_place():
    stars, start, _ = scene()
    held = to_jax(prior())
    model = to_numpy(fit_mixture(as_stars(*stars), to_jax(start), held, 5, 5))
    for name in ("mean", "scatter", "centre", "radius", "log_norm"):
        np.testing.assert_array_equal(getattr(model, name), np.asarray(getattr(start, name), np.float32))
    assert np.abs(model.field_mean - start.field_mean).max() > 0.05
    assert np.abs(model.fraction - start.fraction).max() > 0.01
    further = to_numpy(fit_mixture(as_stars(*stars), to_jax(start), held, 6, 5))
    assert np.abs(further.mean - start.mean).max() > 1e-3


@pytest.mark.parametrize("held", [prior(strength=0.0, field_strength=0.0), prior(strength=30.0, field_strength=15.0)])
def test_the_posterior_never_decreases(held):
    """
    Every step is one of expectation maximisation of the likelihood times the priors of the scatters.

    The pseudocounts of the weights of the grades follow what all grades have, which is no fixed prior: they are small
    beside these stars, as the tolerance is.

    All stars are at one place, where the profile is 1 and drops out: its radius is of a grid and its centre is
    robust, so that only the mixture in the embedding maximises a likelihood.
    """
    (z, cov, _, weight), start, _ = scene(members=80, seed=8)
    stars = (z, cov, np.zeros((len(z), 2)), weight)
    device = as_stars(*stars)
    model = to_jax(start._replace(log_norm=0.0))

    def penalty(scatter, wanted, strength):
        _, log_det = np.linalg.slogdet(scatter)
        return -0.5 * strength * (log_det + np.trace(np.linalg.solve(scatter, wanted)))

    values = []
    for _ in range(12):
        now = to_numpy(model)
        kinematic, profile, components = reference_expectation(stars, now)
        value = np.sum(np.logaddexp(kinematic + profile, logsumexp(components, axis=1)))
        value += np.sum(np.log(now.field_weight)) + penalty(now.scatter, held.scatter, held.strength)
        wanted = np.diag(held.field_variance)
        values.append(value + sum(penalty(s, wanted, held.field_strength) for s in now.field_scatter))
        model = fit_mixture(device, model, to_jax(held), 1, 0)
    steps = np.diff(values)
    assert steps.min() > -1e-2
    assert steps[0] > 10


def test_padding_changes_nothing():
    stars, start, _ = scene()
    held = to_jax(prior(floor=0.02))
    few, many = (as_stars(*stars, rows=rows) for rows in (ROWS, 2 * ROWS))
    one, two = (to_numpy(fit_mixture(s, to_jax(start), held, 20, 3)) for s in (few, many))
    for name in Mixture._fields:
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=2e-3, atol=1e-3, err_msg=name)
    n = len(stars[0])
    model = to_jax(one)
    np.testing.assert_allclose(score_stars(few, model).logit[:n], score_stars(many, model).logit[:n], atol=1e-4)


def test_what_padding_holds_does_not_matter():
    stars, start, _ = scene()
    held = to_jax(prior())
    plain = as_stars(*stars)
    z = plain.z.at[len(stars[0]) :].set(0.5)  # right on the cluster
    models = [to_numpy(fit_mixture(s, to_jax(start), held, 20, 3)) for s in (plain, plain._replace(z=z))]
    for name in Mixture._fields:
        one, two = (getattr(model, name) for model in models)
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3, err_msg=name)


def test_weights_are_repeated_rows():
    (z, cov, xy, _), start, _ = scene(n=400, members=100)
    times = 1 + np.random.default_rng(0).integers(0, 3, 400)
    held = to_jax(prior())
    weighted = as_stars(z, cov, xy, times.astype(float))
    rows = np.repeat(np.arange(400), times)
    repeated = as_stars(z[rows], cov[rows], xy[rows], np.ones(len(rows)), grade=grades(400)[rows])
    models = [to_numpy(fit_mixture(s, to_jax(start), held, 20, 3)) for s in (weighted, repeated)]
    for name in Mixture._fields:
        one, two = (getattr(model, name) for model in models)
        np.testing.assert_allclose(one, two, rtol=2e-3, atol=1e-3, err_msg=name)


@pytest.fixture(scope="module")
def fitted():
    stars, start, kind = scene()
    return stars, to_jax(fit_mixture(as_stars(*stars), to_jax(start), to_jax(prior(floor=0.02)), 40, 5)), kind


def test_the_cluster_is_found(fitted):
    stars, model, kind = fitted
    n = len(kind)
    p = expit(np.asarray(score_stars(as_stars(*stars), model).logit, float)[:n])
    member = p >= 0.5
    assert 2 * np.sum(member & kind) / (member.sum() + kind.sum()) > 0.85
    assert p.sum() == pytest.approx(float(model.fraction.mean()) * n, rel=0.05)
    np.testing.assert_allclose(model.mean, [0.5, -0.4, 0.8], atol=0.03)
    np.testing.assert_allclose(model.centre, [0.1, 0], atol=0.05)
    assert 0.1 < float(model.radius) < 0.45


def test_scores_are_what_they_say(fitted):
    stars, model, _ = fitted
    n = len(stars[0])
    scores = type(score_stars(as_stars(*stars), model))(
        *(np.asarray(v, float)[:n] for v in score_stars(as_stars(*stars), model))
    )
    plain = to_numpy(model)
    kinematic, profile, components = reference_expectation(stars, plain)
    field = logsumexp(components, axis=1)
    close = {"rtol": 2e-3, "atol": 2e-3}
    np.testing.assert_allclose(scores.logit, scores.kinematic + scores.log_profile, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores.kinematic, kinematic - field, **close)
    np.testing.assert_allclose(scores.log_profile, profile, **close)
    log_rest = np.log1p(-plain.fraction)[grades(n)]
    np.testing.assert_allclose(scores.log_field, field - log_rest, **close)
    z, cov = stars[:2]
    densities = [log_density(z, m, s + cov) for m, s in zip(plain.field_mean, plain.field_scatter, strict=True)]
    of_all = logsumexp(np.stack(densities, axis=1), axis=1, b=plain.field_weight.mean(axis=0))
    np.testing.assert_allclose(scores.log_field_of_all, of_all, **close)
    # The evidence of each star: against the field alone, and of the profile against an even one.
    whole = np.logaddexp(kinematic + profile, field) - (field - log_rest)
    np.testing.assert_allclose(scores.gain, whole, **close)
    even = np.logaddexp(kinematic, field)
    np.testing.assert_allclose(scores.spatial_gain, np.logaddexp(kinematic + profile, field) - even, **close)


def test_a_star_far_away_has_probability_zero(fitted):
    stars, model, _ = fitted
    z, cov, xy, weight = (a.copy() for a in stars)
    z[0], cov[0], xy[0] = model.mean, 1e-4 * np.eye(3), model.centre  # the best there can be
    z[1], cov[1], xy[1] = model.mean + np.array([0, 0, 6.0]), 1e-4 * np.eye(3), model.centre
    z[2], cov[2], xy[2] = model.mean, 1e-4 * np.eye(3), 9e3  # where the search puts stars known to be field
    p = expit(np.asarray(score_stars(as_stars(z, cov, xy, weight), model).logit, float))
    assert p[0] > 0.99
    assert p[1] < 1e-12
    assert p[2] < 1e-6


def test_the_evidence_of_a_star_that_is_out_of_reach_is_finite(fitted):
    """However certain its motion is: one star known to be field must not end a candidate."""
    stars, model, _ = fitted
    z, cov, xy, weight = (a.copy() for a in stars)
    cluster = model._replace(mean=jnp.array([40.0, 40.0, 40.0]))
    z[0], cov[0], xy[0] = cluster.mean, 1e-4 * np.eye(3), 9e3
    scores = score_stars(as_stars(z, cov, xy, weight), cluster)
    assert float(scores.kinematic[0]) > 20
    with_place, without = (np.logaddexp(0, float(v[0])) for v in (scores.logit, scores.kinematic))
    assert float(scores.spatial_gain[0]) == pytest.approx(with_place - without, rel=1e-3)
    assert np.isfinite(scores.spatial_gain).all()


def test_no_field_gaussian_imitates_the_cluster():
    """With a floor, a component that starts on the cluster is wider than the cluster there."""
    stars, start, _ = scene(n=900, members=400)
    start.field_mean[0], start.field_scatter[0] = [0.5, -0.4, 0.8], 0.05**2 * np.eye(3)
    widths = []
    for floor in (0.0, 0.3**2):
        model = to_numpy(fit_mixture(as_stars(*stars), to_jax(start), to_jax(prior(floor=floor)), 10, 0))
        widths.append(np.sqrt(np.diag(model.field_scatter[0])))
    assert np.all(widths[1] > 0.2)
    assert np.all(widths[0] < 0.12)


def test_the_centre_stays_in_the_footprint():
    stars, start, kind = scene()
    xy = stars[2].copy()
    xy[kind] = [0.9, 0.0]
    model = fit_mixture(as_stars(stars[0], stars[1], xy, stars[3]), to_jax(start), to_jax(prior()), 20, 3)
    assert float(jnp.linalg.norm(model.centre)) <= 0.5001


def test_each_grade_has_a_field_and_a_share_of_its_own():
    """Of a field whose badly measured stars are elsewhere, and a cluster that only the well measured ones belong to."""
    rng = np.random.default_rng(9)
    n, members = 900, 90
    kind, grade = np.arange(n) < members, np.where(np.arange(n) < 500, 0, GRADES - 1)
    place = np.where((grade == 0)[:, None], [1.5, 0.0, 0.0], [-1.5, 0.0, 0.0])
    z = np.where(kind[:, None], rng.normal([0.5, -0.4, 0.8], 0.06, (n, 3)), rng.normal(place, 0.4, (n, 3)))
    cov = np.tile(1e-4 * np.eye(3), (n, 1, 1))
    r = np.where(kind, 0.1, np.sqrt(rng.uniform(0, 1, n)))
    angle = rng.uniform(0, 2 * np.pi, n)
    xy = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)
    _, start, _ = scene()
    stars = as_stars(z, cov, xy, np.ones(n), grade=grade)
    model = to_numpy(fit_mixture(stars, to_jax(start), to_jax(prior()), 60, 10))
    assert model.fraction[0] == pytest.approx(90 / 500, rel=0.1)
    assert model.fraction[-1] < 0.03
    assert model.fraction[1] == pytest.approx(90 / 900, rel=0.1)  # there are none: about that of all
    middles = model.field_weight @ model.field_mean[:, 0]
    assert middles[0] > 1
    assert middles[-1] < -1
    # A star at the same place is told by its grade: field stars of the last one are hardly ever there.
    there = as_stars(np.full((2, 3), [1.5, 0, 0]), cov[:2], xy[:2], np.ones(2), grade=np.array([0, GRADES - 1]))
    field = np.asarray(score_stars(there, to_jax(model)).log_field)
    assert field[0] > field[1] + 2
