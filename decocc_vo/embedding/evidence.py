"""How much a fitted candidate has for it, and what chance finds as well."""

import numpy as np

__all__ = ["THRESHOLD", "concentration", "evidence", "significance"]

THRESHOLD = 5.0  # significance from which on a candidate holds, unless another is asked for
_KINEMATIC = 0.3  # share of the motions' log evidence that counts: fields have substructure of their own
_MISFIT = 0.3  # log evidence of a star by its motion that a field which the Gaussians do not follow gives any group
_PLACES, _LOCAL = 2.0, 0.25  # power of the number of places that were looked at; footprint radii of one on the sky


def evidence(fit):
    """
    Log evidence of a candidate, in natural log units.

    That of its concentration on the sky, and three tenths of that of its motions: stars that move together are found in
    any field, and chance puts a few of them together; that both happen at one place is rare. Of the motions' only that
    counts which a field without the cluster does not have: three tenths for each member, by which the field's Gaussians
    may be off, or more where `~decocc_vo.embedding.detection.against_field` was asked.

    Parameters
    ----------
    fit : `~decocc_vo.embedding.detection.Fit`
        A candidate.

    Returns
    -------
    evidence : float
    """
    spatial = concentration(fit)
    kinematic = float(fit.weight * fit.free @ fit.scores.gain) - spatial
    of_field = max(fit.explained, _MISFIT * fit.n_expected)
    return spatial + _KINEMATIC * (kinematic - min(of_field, max(kinematic, 0.0)))


def concentration(fit):
    """
    Log evidence of a candidate from its concentration on the sky alone.

    Parameters
    ----------
    fit : `~decocc_vo.embedding.detection.Fit`
        A candidate.

    Returns
    -------
    evidence : float
        In natural log units; negative where its stars are spread more evenly than its profile.
    """
    return float(fit.weight * fit.free @ fit.scores.spatial_gain)


def significance(fit):
    """
    Significance of a candidate in natural log units: its evidence, less what chance finds somewhere in such a field.

    The smaller a part of the stars and of the sky a candidate is, the more places there are where chance may have made
    one: the logarithm of their number, (stars / members)^2 times (a quarter of the footprint / radius)^2, is taken off.
    Of shuffled real fields without a cluster 2.3 % hold a candidate that reaches 3, 0.8 % one that reaches 5, and 0.4 %
    7.

    Parameters
    ----------
    fit : `~decocc_vo.embedding.detection.Fit`
        A candidate.

    Returns
    -------
    significance : float
    """
    share = max(fit.n_expected, 1e-9) / fit.weight.sum()
    return evidence(fit) + _PLACES * float(np.log(share) + min(np.log(float(fit.model.radius) / _LOCAL), 0.0))
