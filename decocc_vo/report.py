"""
One page for one run: the summary, the plots, the provenance and the table, in a single HTML file that needs no network.

The page is at the same time a VOTable: its markup is well-formed XML, and the table stands in it as a VOTABLE element
inside a script block, which browsers do not show. So TOPCAT, Aladin and STILTS read the page's own address as a table,
and the page's button needs nothing but that address to send the table over SAMP's web profile.
"""

import base64
import io
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from . import __version__
from .columns import COLUMNS, floats, registry_names
from .exceptions import InputError
from .membership import MEMBER
from .region import check_region

__all__ = ["render_report", "write_report"]

ROWS_EMBEDDED = 20_000
"""Tables up to this length are embedded whole; of longer ones the rows that may be members."""

_LISTED = 1000  # members shown on the page, the most probable first
_FAINT = 0.01  # rows of long tables are embedded from this probability on

_FIGURES = (
    ("sky", "Sky", "Positions; the members are coloured by their probability."),
    ("proper_motions", "Proper motions", "Where the members crowd together against the field."),
    ("parallax", "Parallax", "Parallaxes of the members and of the field, as published."),
    ("cmd", "Colour and magnitude", "The sequence of the members over the field."),
)

_SHOWN = ("source_id", "ra", "dec", "pmra", "pmdec", "parallax", "phot_g_mean_mag", "hp_mag", "bp_rp", "b_v")

_DIGITS = {"ra": 6, "dec": 6, "membership_prob": 3, "pmra": 3, "pmdec": 3, "parallax": 3}

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_report(result, path, *, region=None, title=None, overwrite=False):
    """
    Write the page of a run.

    Parameters
    ----------
    result : `~decocc_vo.membership.Membership`
        What ``fit`` returned.
    path : str or path-like
        File to write, ending in ``.html``.
    region : `~decocc_vo.ClusterRegion`, optional
        For the sky's plot and the title; by default what the table's footprint and provenance say.
    title : str, optional
        Heading of the page; by default the cluster's name.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    path : `~pathlib.Path`

    Raises
    ------
    InputError
        If ``result`` is no result, or ``path`` does not end in ``.html`` or exists already.
    ServiceError
        If the file cannot be written.

    Examples
    --------
    >>> from decocc_vo.report import write_report
    >>> write_report(result, "hyades.html")  # doctest: +SKIP
    """
    try:
        path = Path(path).expanduser()
    except TypeError:
        msg = f"'path' must be a file's name, not {type(path).__name__}"
        raise InputError(msg) from None
    if path.suffix.lower() not in (".html", ".htm"):
        msg = f"'path' {path.name!r} must end in .html"
        raise InputError(msg)
    if path.exists() and not overwrite:
        msg = f"'path' {path} exists already; choose another name, or say overwrite=True"
        raise InputError(msg)
    page = render_report(result, region=region, title=title)
    from .votable import atomic_path

    with atomic_path(path, overwrite) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def render_report(result, *, region=None, title=None):
    """
    Make the page of a run as text; see `write_report`.

    Returns
    -------
    page : str
        HTML that is well-formed XML, with a VOTABLE element in it.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from .samp.sending import table_key

    if not hasattr(result, "summary") or not hasattr(result, "table"):
        msg = f"'result' must be what fit returned, a Membership, not {type(result).__name__}"
        raise InputError(msg)
    check_region(region)
    environment = Environment(
        loader=PackageLoader("decocc_vo", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_plain,
    )
    cluster = _row(result.summary) if len(result.summary) else None
    embedded, members = _embedded(result.table)
    name = (cluster or {}).get("name") or (region.name if region is not None else None)
    return environment.get_template("report.html").render(
        title=title or name or "Open cluster",
        found=cluster is not None,
        facts=_facts(result.summary) if cluster is not None else [],
        stop_reason=_sentence(result.diagnostics.get("stop_reason", "")),
        release=(cluster or {}).get("release") or result.table.meta.get("release", ""),
        n_stars=len(result.table),
        figures=_figures(result, region),
        candidates=_candidates(result),
        members=_members(result.table),
        listed=_LISTED,
        provenance=_provenance(result, region),
        votable=_votable(embedded),
        n_embedded=len(embedded),
        samp={"table": table_key(embedded), "rows": members, "point": _point(result)},
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _plain(value):
    """Text without the control characters that neither XML nor a reader can use; markup stays."""
    return _NOT_XML.sub("�", value) if type(value) is str else value


def _sentence(text):
    return text[:1].upper() + text[1:].rstrip(".") + "." if text else ""


def _row(table):
    """The first row as a dict of plain values, None where masked."""
    return {
        name: None if np.ma.is_masked(table[name][0]) else getattr(table[name][0], "item", lambda v=table[name][0]: v)()
        for name in table.colnames
    }


def _number(value, error=None, digits=3):
    """A number as text, with as many digits as its error has meaning."""
    if value is None or not np.isfinite(value):
        return "–"
    if error and np.isfinite(error) and error > 0:
        digits = int(np.clip(1 - np.floor(np.log10(error)), 0, 6))
        return f"{value:.{digits}f} ± {error:.{digits}f}"
    return f"{value:.{digits}f}"


def _facts(summary):
    """The characterisation as (label, value, unit, explanation)."""
    row = _row(summary)

    def explain(name):
        return summary[name].description or "" if name in summary.colnames else ""

    facts = [
        ("Members", f"{row['n_members']:,}".replace(",", "\u202f"), "stars", explain("n_members")),
        ("Expected members", _number(row.get("n_expected"), digits=1), "stars", explain("n_expected")),
        ("Distance", _distance(row), "pc", explain("distance")),
        ("Parallax", _number(row["parallax"], row.get("parallax_error")), "mas", explain("parallax")),
        ("Proper motion in RA", _number(row["pmra"], row.get("pmra_error")), "mas/yr", explain("pmra")),
        ("Proper motion in Dec", _number(row["pmdec"], row.get("pmdec_error")), "mas/yr", explain("pmdec")),
        ("Half of the members within", _number(_times(row.get("r50"), 60), digits=1), "arcmin", explain("r50")),
        ("Centre (ICRS)", f"{_number(row['ra'], digits=4)}, {_number(row['dec'], digits=4)}", "deg", explain("ra")),
        ("Significance", _number(row.get("significance"), digits=1), "nat", explain("significance")),
        ("Purity, estimated", _number(_times(row.get("purity"), 100), digits=1), "%", explain("purity")),
        (
            "Completeness, estimated",
            _number(_times(row.get("completeness"), 100), digits=1),
            "%",
            explain("completeness"),
        ),
    ]
    return [fact for fact in facts if fact[1] != "–"]


def _times(value, factor):
    return None if value is None else factor * value


def _distance(row):
    if row.get("distance") is None:
        return "–"
    digits = 1 if row["distance"] < 100 else 0
    text = _number(row["distance"], digits=digits)
    if row.get("distance_low") is not None and row.get("distance_high") is not None:
        text += f" ({row['distance_low']:.{digits}f} to {row['distance_high']:.{digits}f})"
    return text


def _figures(result, region):
    """Figures as (title, caption, data URI)."""
    from .plot import save_plots

    with tempfile.TemporaryDirectory(prefix="decocc-report-") as folder:
        paths = {path.stem: path for path in save_plots(result, folder, formats=("png",), region=region)}
        return [
            (title, caption, "data:image/png;base64," + base64.b64encode(paths[stem].read_bytes()).decode())
            for stem, title, caption in _FIGURES
            if stem in paths
        ]


def _candidates(result):
    """The candidates as rows of text."""
    table = result.candidates
    rows = []
    for i in range(len(table)):
        row = _row(table[i : i + 1])
        rows.append(
            {
                "accepted": bool(row.get("accepted", True)),
                "cells": [
                    str(row["n_members"]),
                    _number(row["pmra"], row.get("pmra_error")),
                    _number(row["pmdec"], row.get("pmdec_error")),
                    _number(row["parallax"], row.get("parallax_error")),
                    _number(row.get("significance"), digits=1),
                ],
            }
        )
    return rows


def _members(table):
    """The most probable members as a header and rows of text; identifiers keep all their digits."""
    probability = np.nan_to_num(floats(table["membership_prob"]), nan=0.0)
    order = np.argsort(-probability, kind="stable")
    order = order[probability[order] >= MEMBER]
    known = registry_names(table)
    names = [name for name in _SHOWN if name in known] + ["membership_prob"]
    header = [(name, str(table[known[name]].unit or ""), COLUMNS[name].description) for name in names]
    columns = []
    for name in names:
        column = table[known[name]][order[:_LISTED]]
        if np.dtype(COLUMNS[name].dtype).kind == "i":
            columns.append(["" if np.ma.is_masked(v) else str(v) for v in column])
        else:
            columns.append([_number(v, digits=_DIGITS.get(name, 2)) for v in floats(column)])
    return {"header": header, "rows": list(zip(*columns, strict=True)), "total": len(order)}


def _provenance(result, region):
    """What made the result, as (name, value)."""
    rows = dict(result.table.meta.get("decocc", {}))
    settings = rows.pop("settings", {})
    rows |= {f"setting: {key}": value for key, value in dict(settings).items()}
    for key in ("release", "ref_epoch", "source", "citation", "query", "retrieved"):
        if key in result.table.meta:
            rows[key] = result.table.meta[key]
    for key in ("seconds", "seed"):
        if key in result.diagnostics:
            rows[key] = result.diagnostics[key]
    if region is not None:
        rows["region"] = str(region)
    return [
        (str(key).replace("_", " "), f"{value:.6g}" if isinstance(value, float) else str(value))
        for key, value in rows.items()
    ]


def _embedded(table):
    """The rows that go into the page, and which of them are members."""
    probability = np.nan_to_num(floats(table["membership_prob"]), nan=0.0)
    if len(table) > ROWS_EMBEDDED:
        keep = probability >= _FAINT
        if not keep.any():
            keep[np.argmax(probability)] = True
        table, probability = table[keep], probability[keep]
    return table, [str(row) for row in np.flatnonzero(probability >= MEMBER)]


def _votable(table):
    """The VOTABLE element, safe inside a script block of HTML and in XML alike."""
    from markupsafe import Markup

    from .votable import to_votable

    buffer = io.BytesIO()
    to_votable(table).to_xml(buffer)
    text = buffer.getvalue().decode("utf-8")
    text = text[text.index("<VOTABLE") : text.rindex("</VOTABLE>") + len("</VOTABLE>")]
    # A comment or an end of script would end the block for a browser; XML text has no "<" of its own.
    text = re.sub("<!--.*?-->", "", text, flags=re.DOTALL)
    if "</script" in text.lower() or "<!--" in text:
        msg = "the table's metadata cannot be embedded in a page"
        raise InputError(msg)
    return Markup(text)


def _point(result):
    """Right ascension and declination the programs turn to, as text in degrees; empty where nothing was found."""
    if not len(result.summary):
        return None
    row = _row(result.summary)
    return {"ra": repr(row["ra"]), "dec": repr(row["dec"])}
