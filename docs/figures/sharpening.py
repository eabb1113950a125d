"""What the published recipe's training on its own sharpened target does to the assignments of stars to groups."""

import matplotlib.pyplot as plt
import numpy as np
from field import BLUE, GREEN, ORANGE

from decocc_vo import ClusterRegion
from decocc_vo.columns import floats
from decocc_vo.embedding.clustering import target_distribution
from decocc_vo.embedding.thesis import run_thesis
from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field

# Without the parallaxes near zero, which stretch the recipe's features until nothing else is to be seen in them.
region = ClusterRegion.from_text("120 -30", "30arcmin")
cluster = SimulatedCluster(300, -12.0, -8.0, 3.0, radius=6.0)
stars = inject_cluster(simulate_field(region, 3000, seed=3, limits=(8, 16)), region, cluster, seed=3)
stars = stars[floats(stars["parallax"]) > 0.3]
motion = [floats(stars[name]) for name in ("pmra", "pmdec", "parallax")]
member = np.asarray(stars["is_member"]) == 1

figure, (curve, *spaces) = plt.subplots(1, 3, figsize=(6.6, 2.3), layout="constrained")
for steps, space, beside in zip((1, 400), spaces, ((-6, 14), (8, 4)), strict=True):
    groups = run_thesis(*motion, n_clusters=3, max_iterations=steps, update_interval=min(steps, 20))
    target = np.asarray(target_distribution(groups.q))
    offset = groups.latent - groups.latent.mean(axis=0)
    place = offset @ np.linalg.svd(offset, full_matrices=False)[2][:2].T
    for group, colour in enumerate((BLUE, ORANGE, GREEN)):
        chosen = groups.labels == group
        space.scatter(*place[chosen].T, s=2, color=colour, linewidths=0, rasterized=True)
        shade = "0.6" if steps == 1 else colour
        curve.scatter(groups.q[:, group], target[:, group], s=2, color=shade, linewidths=0, rasterized=True)
    space.scatter(*place[member].T, s=5, color="black", linewidths=0)
    space.annotate("cluster", np.median(place[member], axis=0), beside, textcoords="offset points")
    space.set(title=f"After {steps} step{'s' * (steps > 1)}", xlabel="First latent component")
spaces[0].set_ylabel("Second latent component")
curve.plot([0, 1], [0, 1], color="black", linewidth=0.9, linestyle=(0, (4, 3)))
curve.text(0.27, 0.58, "after\n1 step", ha="right", color="0.4")
curve.text(0.44, 0.12, "after 400 steps")
curve.set(xlabel="Assignment q", ylabel="Target p", title="Sharpening")
