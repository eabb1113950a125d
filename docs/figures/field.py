"""The simulated field that the figures of "How DECOCC works" are drawn from, and the mixture fitted to it."""

from functools import lru_cache

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, Normalize

from decocc_vo import ClusterRegion
from decocc_vo.embedding.detection import Embedding, fit_peak, refine
from decocc_vo.embedding.features import observables
from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field

# The colour-blind can tell these apart: of Okabe & Ito's palette, and a map without its palest yellows.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
COLOURS = {"cmap": ListedColormap(colormaps["plasma"](np.linspace(0.88, 0.0, 256))), "norm": Normalize(0, 1)}
PMRA, PMDEC = r"$\mu_{\alpha*}$ [mas/yr]", r"$\mu_\delta$ [mas/yr]"


@lru_cache
def example():
    """
    A cluster of 200 stars at 1.7 kpc that moves like many of 8000 field stars.

    Returns the stars as arrays, the fit of the mixture to them, and which are members in truth.
    """
    region = ClusterRegion.from_text("120 -30", "20arcmin")
    cluster = SimulatedCluster(200, -1.0, 0.8, 0.6, radius=6.0)
    stars = inject_cluster(simulate_field(region, 8000, seed=3, limits=(9, 19)), region, cluster, seed=3)
    obs = observables(stars, region)
    embedding = Embedding.of(obs.x, obs.cov, obs.xy / obs.footprint, obs.footprint)
    place = np.array([cluster.pmra, cluster.pmdec, cluster.parallax])
    fit = refine(fit_peak(embedding, place, np.zeros(2), cluster.n_members))
    return obs, fit, np.asarray(stars["is_member"]) == 1
