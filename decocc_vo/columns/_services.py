"""Who serves the releases by TAP, and how each service spells the registry's names."""

from dataclasses import dataclass, field
from types import MappingProxyType

_NO_NAMES = MappingProxyType({})


@dataclass(frozen=True)
class Service:
    """
    One TAP service that carries a release.

    ``names`` maps registry names to the service's spelling where they differ; a column mapped to None is not there.
    ``login`` is the page that takes user and password, where the service has one.
    """

    url: str
    table: str
    names: MappingProxyType = field(default_factory=lambda: _NO_NAMES)
    login: str = ""

    def __reduce__(self):
        """Pickled with a plain dict, since no view of one can be."""
        return _service, (self.url, self.table, dict(self.names), self.login)

    def spelling(self, name):
        """How the service spells the registry's ``name``; None where it does not have the column."""
        return self.names.get(name, name)


def _service(url, table, names, login):
    return Service(url, table, MappingProxyType(names), login)


ESA = "https://gea.esac.esa.int/tap-server/tap"
ESA_LOGIN = "https://gea.esac.esa.int/tap-server/login"
AIP = "https://gaia.aip.de/tap"
GAVO = "https://dc.g-vo.org/tap"
VIZIER = "https://tapvizier.cds.unistra.fr/TAPVizieR/tap"

DR2_VELOCITIES = MappingProxyType(
    {"radial_velocity": "dr2_radial_velocity", "radial_velocity_error": "dr2_radial_velocity_error"}
)
"""ESA's EDR3 table says that its radial velocities are DR2's."""

_AXES = {"ra": "RA", "dec": "DE", "parallax": "Plx", "pmra": "pmRA", "pmdec": "pmDE"}
_CORRELATED = tuple((a, b) for i, a in enumerate(_AXES) for b in list(_AXES)[i + 1 :])

GAVO_LITE = MappingProxyType(
    {
        **{f"{a}_{b}_corr": None for a, b in _CORRELATED},
        "bp_rp": None,
        "phot_bp_rp_excess_factor": None,
        "nu_eff_used_in_astrometry": None,
        "pseudocolour": None,
        "ecl_lat": None,
        "radial_velocity_error": None,
    }
)
"""GAVO serves a lite table: what is not known to be in it is not asked for."""

VIZIER_DR3 = MappingProxyType(
    {
        "source_id": "Source",
        "ra": "RA_ICRS",
        "dec": "DE_ICRS",
        "ra_error": "e_RA_ICRS",
        "dec_error": "e_DE_ICRS",
        "parallax": "Plx",
        "parallax_error": "e_Plx",
        "pmra": "pmRA",
        "pmra_error": "e_pmRA",
        "pmdec": "pmDE",
        "pmdec_error": "e_pmDE",
        **{f"{a}_{b}_corr": f"{_AXES[a]}{_AXES[b]}cor" for a, b in _CORRELATED},
        "phot_g_mean_mag": "Gmag",
        "phot_bp_mean_mag": "BPmag",
        "phot_rp_mean_mag": "RPmag",
        "bp_rp": "BP-RP",
        "phot_bp_rp_excess_factor": "E(BP/RP)",
        "ruwe": "RUWE",
        "astrometric_params_solved": "Solved",
        "nu_eff_used_in_astrometry": "nueff",
        "pseudocolour": "pscol",
        "ecl_lat": "ELAT",
        "radial_velocity": "RV",
        "radial_velocity_error": "e_RV",
    }
)
VIZIER_EDR3 = MappingProxyType({**VIZIER_DR3, "radial_velocity": "RVDR2", "radial_velocity_error": "e_RVDR2"})
VIZIER_DR2 = MappingProxyType({**VIZIER_DR3, "phot_bp_rp_excess_factor": "E(BR/RP)"})
