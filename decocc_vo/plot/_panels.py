"""What each panel draws."""

import numpy as np
from astropy.visualization.wcsaxes import SphericalCircle
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, Normalize

from ..membership import MEMBER
from ._view import mean_position, robust_range, sky_positions

# Perceptually uniform and safe for the colour-blind; the surest members are darkest, and the palest yellows, which
# are lost on white, are left out.
COLOURS = {
    "cmap": ListedColormap(colormaps["plasma"](np.linspace(0.88, 0.0, 256)), name="membership"),
    "norm": Normalize(MEMBER, 1.0),
}
_PMRA = r"$\mu_{\alpha*}$ [mas/yr]"
_PMDEC = r"$\mu_\delta$ [mas/yr]"
_PARALLAX = r"$\varpi$ [mas]"


def _scatter(ax, view, x, y, **kwargs):
    """The field in grey, rasterised; the members on top, coloured."""
    there = np.isfinite(x) & np.isfinite(y)
    members = view.members[there[view.members]]
    field = there.copy()
    field[members] = False
    n = max(int(field.sum()), 1)
    ax.scatter(
        x[field],
        y[field],
        s=np.clip(6000 / n, 0.4, 4),
        c="0.6",
        alpha=np.clip(4000 / n, 0.35, 0.8),
        linewidths=0,
        rasterized=True,
        zorder=1,
        label="field",
        **kwargs,
    )
    ax.scatter(
        x[members],
        y[members],
        s=np.clip(2500 / max(members.size, 1), 4, 12),
        c=view.probability[members],
        edgecolors="white",
        linewidths=0.15,
        rasterized=members.size > 5000,
        zorder=2,
        label="members",
        **COLOURS,
        **kwargs,
    )


def draw_proper_motions(ax, view):
    (x, y), half = view.window("pmra", "pmdec")
    _scatter(ax, view, view.values("pmra"), view.values("pmdec"))
    ax.set(xlim=(x - half, x + half), ylim=(y - half, y + half), xlabel=_PMRA, ylabel=_PMDEC)
    ax.set_aspect("equal", adjustable="box")


def draw_parallax(ax, view):
    (middle,), half = view.window("parallax")
    if view.magnitude:
        name, label = view.magnitude
        x = view.values(name)
    else:
        x = sky_positions(view).separation(mean_position(view)).arcmin
        label = "Distance from the centre [arcmin]"
    y = view.values("parallax")
    _scatter(ax, view, x, y)
    mean = view.summary("parallax")
    if np.isfinite(mean):
        ax.axhline(mean, color="black", linewidth=0.6, linestyle=(0, (6, 3)), zorder=3)
    ax.set(xlim=robust_range(x[np.isfinite(y)], x[view.members]), ylim=(middle - half, middle + half))
    ax.set(xlabel=label, ylabel=_PARALLAX)


def draw_cmd(ax, view):
    if view.photometry is None:
        ax.set(xticks=[], yticks=[])
        ax.text(0.5, 0.5, "no magnitude and colour\nin this table", transform=ax.transAxes, ha="center", va="center")
        return
    magnitude, magnitude_label, colour, colour_label = view.photometry
    x, y = view.values(colour), view.values(magnitude)
    _scatter(ax, view, x, y)
    both = np.isfinite(x) & np.isfinite(y)
    members = view.members[both[view.members]]
    low, high = robust_range(y[both], y[members])
    ax.set(xlim=robust_range(x[both], x[members]), ylim=(high, low), xlabel=colour_label, ylabel=magnitude_label)


def draw_sky(ax, view, region, half):
    _scatter(ax, view, view.values("ra"), view.values("dec"), transform=ax.get_transform("icrs"))
    if region is not None:
        circle = SphericalCircle(
            region.center.icrs,
            region.radius,
            transform=ax.get_transform("icrs"),
            facecolor="none",
            edgecolor="black",
            linewidth=0.6,
            zorder=3,
        )
        ax.add_patch(circle)
    if half is not None:
        ax.set(xlim=(-half, half), ylim=(-half, half))
        ax.set_aspect("equal")
    for axis, label in zip(ax.coords, ("Right ascension (ICRS)", "Declination (ICRS)"), strict=True):
        axis.set_axislabel(label)
        axis.set_ticks(number=4)
        axis.set_ticklabel(exclude_overlapping=True)
