"""The head's latent space, and what the head makes of the mixture's opinion."""

import matplotlib.pyplot as plt
import numpy as np
from field import BLUE, ORANGE, example

from decocc_vo.embedding.context import context_features
from decocc_vo.embedding.head import agreed, correct, embed, load_head

obs, fit, truth = example()
rows, features = context_features(fit, obs)
mixture, magnitude, colour = features[:, 0], obs.mag[rows], obs.colour[rows]
change = agreed(mixture, correct(load_head(), features)) - mixture
latent, centres = embed(load_head(), features)
between = np.linalg.norm(centres[1] - centres[0])
place = (latent - centres.mean(axis=0)) @ (centres[1] - centres[0]) / between
groups = ((truth[rows], BLUE, "^", "Member"), (~truth[rows], ORANGE, "o", "Field star"))

figure, (space, diagram) = plt.subplots(1, 2, figsize=(6.6, 3.1), layout="constrained")
for group, shade, marker, label in groups:
    space.scatter(place[group], mixture[group], s=11, c=shade, marker=marker, linewidths=0, alpha=0.75, label=label)
reach = between / 2 + 4
grid = np.linspace(-reach, reach, 200)
space.plot(grid, -between * grid, color="black", linewidth=1.2)
space.axhline(0, color="black", linewidth=0.9, linestyle=(0, (4, 3)))
space.text(0.97 * reach, 0.15, "mixture alone", ha="right", va="bottom")
space.text(0.97 * reach, -2.2, "with\nthe head", ha="right", va="top")
for centre, name, side in ((-between / 2, " field ", "right"), (between / 2, " members ", "left")):
    space.axvline(centre, color="0.5", linewidth=0.9, linestyle=":", zorder=0)
    space.text(centre, 9.1, name, color="0.3", ha=side)
space.set(xlim=(-reach, reach), ylim=(-7.5, 10), ylabel="Mixture's logit of membership")
space.set_xlabel("Latent place between the two centres")
space.legend(frameon=False, loc="upper right", bbox_to_anchor=(1.03, 0.92), handletextpad=0.2)

style = {"s": 15, "cmap": "RdBu", "vmin": -3, "vmax": 3, "edgecolors": "0.3", "linewidths": 0.3}
for group, _, marker, label in reversed(groups):
    points = diagram.scatter(colour[group], magnitude[group], c=change[group], marker=marker, label=label, **style)
diagram.invert_yaxis()
diagram.set(xlabel=r"$G_\mathrm{BP} - G_\mathrm{RP}$ [mag]", ylabel="$G$ [mag]")
for handle in diagram.legend(frameon=False, handletextpad=0.2).legend_handles:
    handle.set(array=None, facecolor="white")
bar = figure.colorbar(points, ax=diagram, label="The head's change of the logit", extend="both", pad=0.02)
bar.outline.set_linewidth(0.6)
