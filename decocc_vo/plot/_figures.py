"""Figures of one panel and of all."""

from contextlib import contextmanager
from pathlib import Path

from astropy.visualization.wcsaxes import WCSAxes
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from ..exceptions import InputError, ServiceError
from ..membership import MEMBER
from ..votable import atomic_path
from ._panels import COLOURS, draw_cmd, draw_parallax, draw_proper_motions, draw_sky
from ._view import View, tangent_plane

_COLUMN = 3.5  # inches, as most journals
_DPI = 300
_STYLE = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.linewidth": 0.6,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,
    "savefig.dpi": _DPI,
}


def plot_proper_motions(result, ax=None, *, columns=None):
    """
    Plot the proper motions: pmdec against pmra, in a window around the cluster's mean motion.

    Parameters
    ----------
    result : `~decocc_vo.membership.Membership`
        What ``fit`` returned; without a cluster the field is shown, with a note.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure, 3.5 in wide, with a colour bar.
    columns : mapping of str to str, optional
        Registry name to the name in ``result.table``, as given to ``fit``.

    Returns
    -------
    ax : `~matplotlib.axes.Axes`
        The axes; ``ax.figure.savefig(...)`` writes the figure.

    Raises
    ------
    InputError
        If ``result`` is no result.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from astropy.table import Table
    >>> from decocc_vo.plot import plot_proper_motions
    >>> stars = Table({"ra": [1.0, 2.0], "dec": [1.0, 2.0], "pmra": [0.1, 5.0], "pmdec": [0.2, 1.0],
    ...                "parallax": [1.0, 2.0], "membership_prob": [0.9, 0.1]})
    >>> summary = Table({"pmra": [0.1], "pmdec": [0.2], "parallax": [1.0]})
    >>> ax = plot_proper_motions(SimpleNamespace(table=stars, summary=summary))
    >>> print(ax.get_ylabel())
    $\\mu_\\delta$ [mas/yr]
    """
    return _plot(draw_proper_motions, View.of(result, columns), ax)


def plot_parallax(result, ax=None, *, columns=None):
    """
    Plot parallax against magnitude, in a window around the cluster's parallax.

    Without a magnitude the angular distance from the stars' centre takes its place.

    Parameters
    ----------
    result : `~decocc_vo.membership.Membership`
        What ``fit`` returned; without a cluster the field is shown, with a note.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure, 3.5 in wide, with a colour bar.
    columns : mapping of str to str, optional
        Registry name to the name in ``result.table``, as given to ``fit``.

    Returns
    -------
    ax : `~matplotlib.axes.Axes`
        The axes.

    Raises
    ------
    InputError
        If ``result`` is no result.
    """
    return _plot(draw_parallax, View.of(result, columns), ax)


def plot_cmd(result, ax=None, *, columns=None):
    """
    Plot the colour-magnitude diagram: G against BP - RP, or Hp against B - V for Hipparcos, bright stars up.

    Parameters
    ----------
    result : `~decocc_vo.membership.Membership`
        What ``fit`` returned; without photometry the panel says so.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure, 3.5 in wide, with a colour bar.
    columns : mapping of str to str, optional
        Registry name to the name in ``result.table``, as given to ``fit``.

    Returns
    -------
    ax : `~matplotlib.axes.Axes`
        The axes.

    Raises
    ------
    InputError
        If ``result`` is no result.
    """
    return _plot(draw_cmd, View.of(result, columns), ax)


def plot_sky(result, ax=None, *, region=None, columns=None):
    """
    Plot the sky in the tangent plane, north up and east to the left.

    Parameters
    ----------
    result : `~decocc_vo.membership.Membership`
        What ``fit`` returned; without a cluster the field is shown, with a note.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Where to draw, on any projection: ``figure.add_subplot(projection=wcs)`` with a `~astropy.wcs.WCS`; by default a
        new figure, 3.5 in wide, with a colour bar.
    region : `~decocc_vo.region.ClusterRegion`, optional
        Its centre is the tangent point and its circle is drawn; by default the stars' centre, and no circle.
    columns : mapping of str to str, optional
        Registry name to the name in ``result.table``, as given to ``fit``.

    Returns
    -------
    ax : `~astropy.visualization.wcsaxes.WCSAxes`
        The axes.

    Raises
    ------
    InputError
        If ``result`` is no result, or ``ax`` knows no sky coordinates.
    """
    view = View.of(result, columns)
    if ax is not None and not isinstance(ax, WCSAxes):
        msg = "'ax' must be a WCSAxes; make it with figure.add_subplot(projection=wcs), wcs an astropy.wcs.WCS"
        raise InputError(msg)
    wcs, half = tangent_plane(view, region)
    return _plot(lambda axes, v: draw_sky(axes, v, region, half if ax is None else None), view, ax, projection=wcs)


def plot_summary(result, *, region=None, columns=None):
    """
    Plot all four on one page: sky, proper motions, parallax and colour-magnitude diagram.

    Parameters
    ----------
    result : `~decocc_vo.membership.Membership`
        What ``fit`` returned.
    region : `~decocc_vo.region.ClusterRegion`, optional
        As for `plot_sky`.
    columns : mapping of str to str, optional
        Registry name to the name in ``result.table``, as given to ``fit``.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Two columns wide, with one colour bar.

    Raises
    ------
    InputError
        If ``result`` is no result.
    """
    view = View.of(result, columns)
    wcs, half = tangent_plane(view, region)
    with _style():
        figure = Figure(figsize=(2 * _COLUMN, 1.85 * _COLUMN), layout="constrained")
        draw_sky(figure.add_subplot(2, 2, 1, projection=wcs), view, region, half)
        for number, draw in enumerate((draw_proper_motions, draw_parallax, draw_cmd), start=2):
            draw(figure.add_subplot(2, 2, number), view)
        figure.suptitle(_title(view, region), fontsize=8, parse_math=False)  # a name may have any sign
        if view.members.size:
            _colour_bar(figure, figure.axes[:4], shrink=0.6, aspect=40)
    return figure


def save_plots(result, folder, formats=("png", "pdf"), *, region=None, columns=None):
    """
    Write every figure of a result: ``proper_motions``, ``parallax``, ``cmd``, ``sky`` and ``summary``.

    Parameters
    ----------
    result : `~decocc_vo.membership.Membership`
        What ``fit`` returned.
    folder : str or path-like
        Where to write; it is made if need be.
    formats : sequence of str, optional
        File formats matplotlib knows.
    region : `~decocc_vo.region.ClusterRegion`, optional
        As for `plot_sky`.
    columns : mapping of str to str, optional
        Registry name to the name in ``result.table``, as given to ``fit``.

    Returns
    -------
    paths : list of `~pathlib.Path`
        The files.

    Raises
    ------
    InputError
        If ``result`` is no result, or no format is named or one is not known.
    ServiceError
        If the folder or a file cannot be written.
    """
    try:
        formats = (formats,) if isinstance(formats, str) else tuple(formats)
        folder = Path(folder).expanduser()
    except TypeError:
        msg = f"'folder' must be a folder's name and 'formats' a sequence of them, not {folder!r} and {formats!r}"
        raise InputError(msg) from None
    if not formats:
        msg = "'formats' names no format; leave it out for PNG and PDF"
        raise InputError(msg)
    known = Figure().canvas.get_supported_filetypes()
    for name in formats:
        if name not in known:
            msg = f"'formats' has {name!r}, which is not known; choose from {', '.join(sorted(known))}"
            raise InputError(msg)
    figures = {
        "proper_motions": plot_proper_motions(result, columns=columns).figure,
        "parallax": plot_parallax(result, columns=columns).figure,
        "cmd": plot_cmd(result, columns=columns).figure,
        "sky": plot_sky(result, region=region, columns=columns).figure,
        "summary": plot_summary(result, region=region, columns=columns),
    }
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _style():
            for name, figure in figures.items():
                for form in formats:
                    # No date: the same call gives the same file.
                    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form)
                    path = folder / f"{name}.{form}"
                    with atomic_path(path) as temporary:
                        figure.savefig(temporary, format=form, metadata=undated)
                    paths.append(path)
    except Exception as error:
        # Matplotlib may fail a second time, at the end of a PDF that the disk had no room for.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        msg = f"'folder' {folder}: plots cannot be written: {cause.strerror or cause}"
        raise ServiceError(msg) from error
    return paths


@contextmanager
def _style():
    with style.context(["default", _STYLE]):
        yield


def _plot(draw, view, ax, **projection):
    """Draw on the caller's axes in the caller's style, or on a new figure in ours."""
    if ax is not None:
        if not isinstance(ax, Axes):
            msg = f"'ax' must be Axes of matplotlib, not {type(ax).__name__}"
            raise InputError(msg)
        _draw(draw, ax, view)
        return ax
    with _style():
        figure = Figure(figsize=(_COLUMN, 0.85 * _COLUMN), layout="constrained")
        ax = figure.add_subplot(**projection)
        _draw(draw, ax, view)
        if view.members.size:
            _colour_bar(figure, ax)
    return ax


def _draw(draw, ax, view):
    draw(ax, view)
    if view.cluster is None:
        ax.set_title("no cluster found", loc="left")


def _colour_bar(figure, axes, **kwargs):
    bar = figure.colorbar(ScalarMappable(**COLOURS), ax=axes, label="Membership probability", **kwargs)
    bar.outline.set_linewidth(0.6)


def _title(view, region):
    n, others = view.members.size, view.others
    name = getattr(region, "name", None)
    release = view.stars.meta.get("release", view.stars.meta.get("RELEASE"))
    if view.cluster is not None:
        of_summary = {key: view.cluster[key] for key in ("name", "release") if key in view.cluster.colnames}
        name, release = of_summary.get("name") or name, of_summary.get("release")
    found = "no cluster found" if view.cluster is None else f"{n} star{'s' * (n != 1)} with p ≥ {MEMBER:g}"
    if others:
        found += f"; {others} further cluster{'s' * (others != 1)} in the field's grey"
    return ", ".join(str(word) for word in (name, release, found) if word)
