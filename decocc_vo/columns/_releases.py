"""The catalogue releases stars come from: tables, epochs, columns, parallax zero points, and who serves them."""

from dataclasses import dataclass
from types import MappingProxyType

from ..exceptions import InputError
from . import _services as at
from ._services import Service

_POSITION = ("source_id", "ra", "dec", "ra_error", "dec_error")
_MOTION = ("parallax", "parallax_error", "pmra", "pmra_error", "pmdec", "pmdec_error")
_CORRELATIONS = tuple(
    f"{a}_{b}_corr"
    for i, a in enumerate(("ra", "dec", "parallax", "pmra", "pmdec"))
    for b in ("ra", "dec", "parallax", "pmra", "pmdec")[i + 1 :]
)
_PHOTOMETRY = ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "bp_rp", "phot_bp_rp_excess_factor")
_DR2 = (*_POSITION, *_MOTION, *_CORRELATIONS, *_PHOTOMETRY, "radial_velocity", "radial_velocity_error")
_EDR3 = (
    *_POSITION,
    *_MOTION,
    *_CORRELATIONS,
    *_PHOTOMETRY,
    "ruwe",
    "astrometric_params_solved",
    "nu_eff_used_in_astrometry",
    "pseudocolour",
    "ecl_lat",
    "radial_velocity",
    "radial_velocity_error",
)


@dataclass(frozen=True, eq=False)
class Release:
    """
    One catalogue release.

    Attributes
    ----------
    key, name : str
        Key on the command line, and the name people say.
    ref_epoch : float or None
        Epoch of the positions (Julian year); None while not known.
    columns : tuple of str
        Registry names the release has.
    zero_point : str
        Rule for the parallax zero point: ``"lindegren2021"`` (by magnitude, colour and ecliptic latitude),
        ``"constant"`` or ``"none"``.
    zero_point_value : float
        The constant in mas, subtracted from the parallax, where the rule is ``"constant"``.
    zero_point_uncertainty : float
        What is left of it in the mean parallax of a cluster, in mas.
    services : mapping of str to Service
        TAP services that carry it, the first asked first.
    unknown : str
        Why the release cannot be used yet; empty when it can.
    citation : str
        What to cite.
    """

    key: str
    name: str
    ref_epoch: float | None
    columns: tuple[str, ...]
    zero_point: str
    zero_point_value: float
    zero_point_uncertainty: float
    services: MappingProxyType
    citation: str
    unknown: str = ""

    def __reduce__(self):
        """Pickled by its key: there is one of each."""
        return _by_key, (self.key,)


RELEASES = MappingProxyType(
    {
        r.key: r
        for r in (
            Release(
                "hipparcos2",
                "Hipparcos-2",
                1991.25,
                (*_POSITION, *_MOTION, *_CORRELATIONS, "hp_mag", "b_v"),
                "none",
                0.0,
                0.1,  # van Leeuwen 2009, A&A 497, 209: the Pleiades are 0.3 off
                MappingProxyType({}),
                "van Leeuwen 2007, A&A 474, 653 (CDS I/311)",
            ),
            Release(
                "gaia_dr2",
                "Gaia DR2",
                2015.5,
                _DR2,
                "constant",
                -0.029,
                0.043,  # Lindegren et al. 2018, A&A 616, A2, section 5.2
                MappingProxyType(
                    {
                        "esa": Service(at.ESA, "gaiadr2.gaia_source", login=at.ESA_LOGIN),
                        "aip": Service(at.AIP, "gdr2.gaia_source"),
                        "vizier": Service(at.VIZIER, '"I/345/gaia2"', at.VIZIER_DR2),
                    }
                ),
                "Gaia Collaboration, Brown et al. 2018, A&A 616, A1",
            ),
            Release(
                "gaia_edr3",
                "Gaia EDR3",
                2016.0,
                _EDR3,
                "lindegren2021",
                0.0,
                0.011,  # over the sky: Maiz Apellaniz et al. 2021, A&A 649, A13
                MappingProxyType(
                    {
                        "esa": Service(at.ESA, "gaiaedr3.gaia_source", at.DR2_VELOCITIES, at.ESA_LOGIN),
                        "vizier": Service(at.VIZIER, '"I/350/gaiaedr3"', at.VIZIER_EDR3),
                    }
                ),
                "Gaia Collaboration, Brown et al. 2021, A&A 649, A1",
            ),
            Release(
                "gaia_dr3",
                "Gaia DR3",
                2016.0,
                _EDR3,
                "lindegren2021",
                0.0,
                0.011,  # over the sky: Maiz Apellaniz et al. 2021, A&A 649, A13
                MappingProxyType(
                    {
                        "esa": Service(at.ESA, "gaiadr3.gaia_source", login=at.ESA_LOGIN),
                        "aip": Service(at.AIP, "gaiadr3.gaia_source"),
                        "gavo": Service(at.GAVO, "gaia.dr3lite", at.GAVO_LITE),
                        "vizier": Service(at.VIZIER, '"I/355/gaiadr3"', at.VIZIER_DR3),
                    }
                ),
                "Gaia Collaboration, Vallenari et al. 2023, A&A 674, A1",
            ),
            Release(
                "gaia_dr4",
                "Gaia DR4",
                None,
                (),
                "none",
                0.0,
                0.0,
                MappingProxyType({}),
                "",
                unknown="it opens on 2 December 2026; its table, epoch and zero point are not known to this version",
            ),
        )
    }
)
"""Releases by key; the only place where their tables and epochs are written."""


def _by_key(key):
    return RELEASES[key]


def get_release(key, argument="survey"):
    """
    Find a release by its key or name, and refuse one that is not open yet.

    Parameters
    ----------
    key : str
        Key or name: ``"gaia_dr3"``, ``"Gaia DR3"``, ``"DR3"``.
    argument : str, optional
        What the caller's argument is called, for the messages.

    Raises
    ------
    InputError
        If there is no such release, or it is not open yet.

    Examples
    --------
    >>> from decocc_vo.columns import get_release
    >>> get_release("Gaia DR3").ref_epoch
    2016.0
    """
    wanted = "".join(c for c in str(key).lower() if c.isalnum())
    wanted = wanted.replace("earlydatarelease", "edr").replace("datarelease", "dr")
    names = (wanted, f"gaia{wanted}")  # "DR3" is Gaia's
    release = next((r for r in RELEASES.values() if r.key.replace("_", "") in names), None)
    if release is None:
        msg = f"{argument!r} {key!r} is not known; choose one of {', '.join(RELEASES)}"
        raise InputError(msg)
    if release.unknown:
        msg = f"{argument!r} {release.key} cannot be used yet: {release.unknown}; use gaia_dr3, or update decocc_vo"
        raise InputError(msg)
    return release
