"""Magnitudes and colours of a cluster's stars."""

import numpy as np

# Main sequence of the solar neighbourhood, BP-RP against absolute G, read off Gaia's Hertzsprung-Russell diagram
# (Gaia Collaboration, Babusiaux et al. 2018, A&A 616, A10, figure 5), to 0.2 mag.
_MAIN_SEQUENCE_G = (-3.0, -1.0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5, 13.0, 15.0)
_MAIN_SEQUENCE_COLOUR = (-0.35, -0.2, -0.05, 0.1, 0.35, 0.57, 0.78, 0.97, 1.25, 1.6, 1.9, 2.15, 2.45, 2.75, 3.3, 4.4)
_GIANT_G, _GIANT_COLOUR = 0.5, 1.25  # red clump
_BRANCH_G, _BRANCH_SLOPE = (-1.5, 3.0), -0.12  # red giant branch: absolute G, and colour per magnitude about the clump
REDDENING = 0.42  # excess in BP-RP for a magnitude of extinction in G


def main_sequence_colour(absolute):
    """BP-RP of main sequence stars of an absolute G magnitude, without reddening."""
    return np.interp(absolute, _MAIN_SEQUENCE_G, _MAIN_SEQUENCE_COLOUR)


def sequence(cluster, rng, n, limits):
    """G and BP-RP of cluster stars between magnitude limits: a luminosity function that rises to the faint end."""
    modulus = 10 - 5 * np.log10(cluster.parallax) + cluster.extinction
    faint = min(limits[1] - modulus, 14.0)
    bright = min(max(cluster.turnoff, limits[0] - modulus), faint - 0.5)
    grid = np.linspace(bright, faint, 500)
    cumulative = np.cumsum(np.exp(0.16 * (grid - bright)))
    absolute = np.interp(rng.uniform(0, cumulative[-1], n), cumulative, grid)
    colour = main_sequence_colour(absolute)
    pair = rng.uniform(0, 1, n) < 0.3  # unresolved binaries: up to 0.75 mag above the sequence, and redder
    q = rng.uniform(0, 1, n)
    absolute = absolute - np.where(pair, 0.75 * q**3, 0.0)
    colour = colour + np.where(pair, 0.06 * q, 0.0)
    evolved = rng.uniform(0, 1, n) < cluster.giants
    of_branch = rng.spawn(1)[0]  # of a stream of its own: what is drawn next does not depend on the branch
    branch = of_branch.uniform(0, 1, n) < 0.5
    red = np.where(branch, of_branch.uniform(*_BRANCH_G, n), _GIANT_G + rng.normal(0, 0.35, n))
    giant = evolved & (limits[0] < modulus + red) & (modulus + red < limits[1])
    absolute = np.where(giant, red, absolute)
    slope = np.where(branch, _BRANCH_SLOPE, 0.0)
    colour = np.where(giant, _GIANT_COLOUR + slope * (red - _GIANT_G) + rng.normal(0, 0.06, n), colour)
    noise = 0.01 + 0.02 * np.maximum(absolute + modulus - 16, 0) ** 1.5
    return absolute + modulus, colour + REDDENING * cluster.extinction + rng.normal(0, noise)
