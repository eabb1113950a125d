"""Fields without a cluster: simulated ones, and real ones whose positions are dealt out anew."""

import numpy as np
from astropy.table import Table

from .._checks import check_integer, check_seed
from ..columns import AU_YR, SIMULATED, conform, expected_errors, registry_names
from ..exceptions import InputError
from ._sky import check_region, offset_to_sky

__all__ = ["shuffle_positions", "simulate_field"]


def shuffle_positions(stars, seed=0):
    """
    Deal the positions of stars out to other stars: the footprint stays, and no cluster can remain on the sky.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        With ra and dec.
    seed : int
        Of the permutation.

    Returns
    -------
    shuffled : `~astropy.table.Table`

    Raises
    ------
    InputError
        If there are no positions.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.simulate import shuffle_positions, simulate_field
    >>> stars = simulate_field(ClusterRegion.from_text("120 -30", "20arcmin"), 100)
    >>> shuffled = shuffle_positions(stars, seed=1)
    >>> sorted(shuffled["ra"]) == sorted(stars["ra"]), list(shuffled["ra"]) == list(stars["ra"])
    (True, False)
    """
    shuffled = Table(stars, copy=True)
    check_seed(seed)
    order, names = np.random.default_rng(seed).permutation(len(stars)), registry_names(stars)
    if not {"ra", "dec"} <= set(names):
        msg = "'stars' must have ra and dec; rename the columns that are meant"
        raise InputError(msg)
    for name in (names["ra"], names["dec"]):
        shuffled[name] = stars[name][order]
    return shuffled


def simulate_field(region, n_stars, seed=0, limits=(8.0, 18.0)):
    """
    Simulate a field without a cluster: a disc population seen from the Sun.

    Distances are those of a disc seen to a magnitude limit, about 1.3 kpc at G = 15 and more for fainter stars; motions
    scatter by 35 km/s around a mean that is drawn for the field; positions are uniform on the region's tangent plane.

    Parameters
    ----------
    region : `~decocc_vo.region.ClusterRegion`
        Where.
    n_stars : int
        How many.
    seed : int
        Of the random draws.
    limits : tuple of float
        Bright and faint magnitude limit in G.

    Returns
    -------
    stars : `~astropy.table.Table`
        With positions, motions, parallaxes, their errors, G and BP-RP.

    Raises
    ------
    InputError
        If the first of the limits is not the bright one, or there are no stars.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.simulate import simulate_field
    >>> stars = simulate_field(ClusterRegion.from_text("120 -30", "20arcmin"), 1000, limits=(10.0, 16.0))
    >>> len(stars), bool(stars["phot_g_mean_mag"].max() <= 16)
    (1000, True)
    """
    check_region(region)
    try:
        bright, faint = map(float, limits)
    except (TypeError, ValueError):
        bright = faint = np.nan
    if not bright < faint:
        msg = f"'limits' must be a bright and a faint magnitude, not {limits!r}"
        raise InputError(msg)
    check_integer("n_stars", n_stars, 1)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    radius = 60 * np.degrees(np.tan(region.radius.to_value("rad"))) * np.sqrt(rng.uniform(0, 1, n_stars))
    angle = rng.uniform(0, 2 * np.pi, n_stars)
    ra, dec = offset_to_sky(region, radius * np.cos(angle), radius * np.sin(angle))
    g = faint + np.log(rng.uniform(np.exp(0.6 * (bright - faint)), 1, n_stars)) / 0.6
    distance = np.clip(rng.gamma(3.0, 0.45, n_stars) * 10 ** (0.12 * (g - 15)), 0.05, 15)
    drift = rng.normal(0, 15, 2)
    motion = (drift + rng.normal(0, 35, (n_stars, 2))) / distance[:, None] / AU_YR
    error = expected_errors(g)
    noise = rng.normal(0, error)
    stars = Table(
        {
            "source_id": np.arange(1, n_stars + 1),
            "ra": ra,
            "dec": dec,
            "parallax": 1 / distance + noise[:, 2],
            "parallax_error": error[:, 2],
            "pmra": motion[:, 0] + noise[:, 0],
            "pmra_error": error[:, 0],
            "pmdec": motion[:, 1] + noise[:, 1],
            "pmdec_error": error[:, 1],
            "phot_g_mean_mag": g,
            "bp_rp": rng.gamma(6.0, 0.18, n_stars) + 0.2,
        },
        meta={"release": SIMULATED},
    )
    return conform(stars)
