"""When a candidate holds as a cluster."""

import numpy as np

from ..columns import AU_YR
from .context import nearest_parallax, parsec
from .evidence import concentration, significance

__all__ = ["FEWEST", "enough_members", "fault"]

FEWEST = 8  # expected members: chance pairs and triples of stars reach any significance
_NO_DISTANCE = 0.1  # mas: a mean parallax further below zero than this, and 3 of its errors, is that of no star
_LOOSE = (2.0, 4.0, 10.0)  # times a cluster's dispersion, km/s, pc: what exceeds all three is hardly bound


def enough_members(fit):
    """Whether a candidate has eight stars: their probabilities add to a little less."""
    return fit.n_expected >= FEWEST - 0.5


def fault(fit, threshold):
    """
    Why a candidate does not hold as a cluster.

    Parameters
    ----------
    fit : `~decocc_vo.embedding.detection.Fit`
        A candidate.
    threshold : float
        Significance from which on one holds.

    Returns
    -------
    fault : str
        What it has, for a sentence; nothing if it holds.
    """
    if significance(fit) < threshold:
        return f"a significance of {significance(fit):.1f}, under the threshold of {threshold:g}"
    told = f"a significance of {significance(fit):.1f}, but"
    if not enough_members(fit):
        return f"{told} fewer than {FEWEST} stars"
    parallax, precision = fit.mean[2], fit.weight * fit.probability / fit.embedding.cov[fit.rows, 2, 2]
    if parallax + _NO_DISTANCE + 3 / np.sqrt(precision.sum()) < 0:
        return f"{told} a mean parallax of {parallax:.2f} mas, which no star has"
    if _is_loose(fit) and concentration(fit) < threshold:
        return f"{told} too large a dispersion for a cluster, and no concentration on the sky"
    return ""


def _is_loose(fit):
    """Whether motions scatter and stars are spread as those of no cluster: open, globular, or of a young region."""
    variance = np.diag(fit.model.scatter)[:2] / fit.embedding.slope(fit.mean)[:2] ** 2
    dispersion = float(np.sqrt(np.mean(variance)))  # in one axis, mas/yr
    velocity, radius = dispersion * AU_YR / nearest_parallax(fit), float(fit.model.radius) * parsec(fit)
    return bool(np.all(np.array([dispersion / fit.dispersion[0], velocity, radius]) > _LOOSE))
