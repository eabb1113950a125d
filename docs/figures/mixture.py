"""What the mixture does: the field's Gaussians, the cluster's without the errors of its stars, and its profile."""

import matplotlib.pyplot as plt
import numpy as np
from field import COLOURS, ORANGE, PMDEC, PMRA, example
from matplotlib.patheffects import withStroke

obs, fit, _ = example()
model, probability, motion = fit.model, fit.probability, obs.x[:, :2]
half, angle = 0.9, np.linspace(0, 2 * np.pi, 200)


def contour(mean, scatter, sigma):
    """Motions on the ellipse of ``sigma`` about a Gaussian of the embedding."""
    ring = mean[:2] + sigma * np.stack([np.cos(angle), np.sin(angle)], 1) @ np.linalg.cholesky(scatter[:2, :2]).T
    return fit.embedding.inverse(np.column_stack([ring, np.full(angle.size, mean[2])]))[:, :2].T


figure, (wide, near, sky) = plt.subplots(1, 3, figsize=(6.6, 2.2), layout="constrained")
x, y = fit.mean[:2]
wide.scatter(*motion.T, s=1.5, c="0.6", linewidths=0, rasterized=True)
for mean, scatter in zip(model.field_mean, model.field_scatter, strict=True):
    wide.plot(*contour(mean, scatter, 1), color=ORANGE, linewidth=1.2)
wide.plot(x + half * np.array([-1, 1, 1, -1, -1]), y + half * np.array([-1, -1, 1, 1, -1]), color="black", linewidth=1)
wide.set(xlim=(x - 14, x + 14), ylim=(y - 14, y + 14), title="Field: eight Gaussians")

maybe = np.flatnonzero(probability > 0.05)
maybe = maybe[np.argsort(probability[maybe])]  # the surest on top
error = np.sqrt(obs.cov[maybe, [[0], [1]], [[0], [1]]])
near.scatter(*motion.T, s=4, c="0.75", linewidths=0, rasterized=True)
near.errorbar(*motion[maybe].T, yerr=error[1], xerr=error[0], fmt="none", ecolor="0.6", elinewidth=0.4)
points = near.scatter(*motion[maybe].T, s=8, c=probability[maybe], linewidths=0, zorder=3, **COLOURS)
halo = [withStroke(linewidth=2.5, foreground="white")]
near.plot(*contour(model.mean, model.scatter, 2), color="black", linewidth=1.2, zorder=4, path_effects=halo)
near.set(xlim=(x - half, x + half), ylim=(y - half, y + half), title="Cluster, in the box")
figure.colorbar(points, ax=near, label="Probability p", pad=0.02, shrink=0.85).outline.set_linewidth(0.6)
for ax in (wide, near):
    ax.set(xlabel=PMRA, ylabel=PMDEC)

radius = np.hypot(*(obs.xy - obs.footprint * model.centre).T)
edges = np.linspace(0, 18, 10)
area, count = np.pi * np.diff(edges**2), np.histogram(radius, edges, weights=probability)[0]
middle = (edges[1:] + edges[:-1]) / 2
sky.errorbar(middle, count / area, np.sqrt(count) / area, fmt="o", ms=3, color=COLOURS["cmap"](0.7), label="sum of p")
inward = np.argsort(radius)
profile = fit.n_expected / (np.pi * obs.footprint**2) * np.exp(fit.scores.log_profile[inward])
sky.plot(radius[inward], profile, color="black", linewidth=1.2, label="Plummer")
sky.set(xlim=(0, 18), ylim=(0, None), xlabel="Radius [arcmin]", ylabel="Members per arcmin²")
sky.set_title("Profile on the sky")
sky.legend(frameon=False)
for ax in (wide, near, sky):
    ax.set_box_aspect(1)
