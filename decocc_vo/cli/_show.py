"""What a run found, as text for people and as JSON for programs."""

import json
import math

import numpy as np

__all__ = ["as_json", "as_text"]

_OTHERS = 5  # candidates that the text lists
_NOT_USED = {
    "missing": "with a value missing",
    "repeated": "of a star that was there",
    "outside": "outside the region",
    "other": "that the method cannot use",
}


def as_text(result, region, stars, encoding="utf-8"):
    """
    The characterisation as lines of text.

    Parameters
    ----------
    result : `~decocc_vo.membership.Membership`
    region : `~decocc_vo.region.ClusterRegion` or None
    stars : `~astropy.table.Table`
        The table that was fitted.
    encoding : str
        Of where the text goes; without a plus-minus sign there, it is spelt out.
    """
    name = (region.name if region is not None else None) or "this field"
    facts = result.diagnostics
    if result.found:
        row = result.summary[0]
        lines = [f"{name}: an open cluster of {row['n_members']} members", "", *_cluster(row, stars)]
        others = [_candidate(other, row) for other in result.candidates[1 : 1 + _OTHERS]]
        more = len(result.candidates) - 1 - len(others)
        others += [f"and {more} more"] if more > 0 else []
        lines += _block("other groups", others or ["none"])
    else:
        lines = [f"{name}: no cluster found", ""]
        lines += _block(
            "best group", [_candidate(row, None) for row in result.candidates[:1] if row["n_members"]] or ["none"]
        )
    lines += [
        _line("ended", facts["stop_reason"]),
        _line("method", _method(facts)),
        _line("stars", _counts(facts)),
        _line("from", stars.meta.get("source", "the table given")),
        _line("release", _release(stars)),
        _line("region", str(region) if region is not None else facts.get("region", "")),
    ]
    text = "\n".join(lines)
    try:
        text.encode(encoding or "ascii")
    except UnicodeEncodeError:
        text = text.replace("±", "+/-").encode(encoding or "ascii", "replace").decode(encoding or "ascii")
    return text


def _line(label, text):
    return f"  {label:<13s}{text}"


def _block(label, texts):
    return [_line(label if i == 0 else "", text) for i, text in enumerate(texts)]


def _cluster(row, stars):
    """Lines on the cluster itself."""
    from astropy.coordinates import SkyCoord

    from ..columns import conform

    center = SkyCoord(row["ra"], row["dec"], unit="deg")
    sexagesimal = center.to_string("hmsdms", precision=0)
    lines = [
        _line("centre", f"{row['ra']:.4f} {row['dec']:+.4f} deg ({sexagesimal}, ICRS)"),
        _line("members", f"{row['n_members']} with p >= 0.5; {row['n_expected']:.1f} expected (sum of p)"),
    ]
    known = conform(stars)
    for name, unit in (("pmra", "mas/yr"), ("pmdec", "mas/yr"), ("parallax", "mas")):
        spread = f"dispersion {_rounded(row[f'{name}_dispersion'], row[f'{name}_error'])}"
        spread += _errors_told(f"{name}_error", known)
        value, error = _rounded(row[name], row[f"{name}_error"]), _rounded(row[f"{name}_error"], row[f"{name}_error"])
        lines.append(_line(name, f"{value} ± {error} {unit}; {spread}"))
    if np.ma.is_masked(row["distance"]):
        distance = "not positive parallax after the zero point: none"
    else:
        low, high = row["distance_low"], row["distance_high"]
        half = row["distance"] - low  # the high end is masked where the parallax may be zero
        ends = ["infinity" if np.ma.is_masked(end) else _rounded(end, half) for end in (low, high)]
        distance = f"{_rounded(row['distance'], half)} pc ({ends[0]} to {ends[1]}, 68 %)"
        distance += f"; zero point {row['parallax_zero_point']:+.3f} mas"
    lines.append(_line("distance", distance))
    lines.append(_line("r50", f"{_significant(row['r50'])} deg, half of the members within"))
    if not np.ma.is_masked(row["significance"]):
        lines.append(_line("significance", f"{row['significance']:.1f} nats"))
    if not np.ma.is_masked(row["purity"]):
        rates = f"purity {row['purity']:.2f}, completeness {row['completeness']:.2f} at p >= 0.5"
        lines.append(_line("estimated", rates))
    return lines


def _errors_told(name, stars):
    """Whether errors are taken out of a dispersion, and which."""
    from ..columns import magnitudes, values_or_nan

    if np.any(values_or_nan(stars, name) > 0):
        return " intrinsic"
    if np.any(np.isfinite(magnitudes(stars))):
        return " intrinsic, by the errors usual at the magnitudes"
    return " with the errors, which the table lacks"


def _candidate(row, cluster):
    """One group in a line."""
    text = (
        f"{row['n_members']} stars, pm {row['pmra']:.2f} {row['pmdec']:+.2f} mas/yr, parallax {row['parallax']:.3f} mas"
    )
    if cluster is not None:
        from astropy.coordinates import angular_separation

        ends = np.radians([cluster["ra"], cluster["dec"], row["ra"], row["dec"]])
        text += f", {_significant(np.degrees(angular_separation(*ends)))} deg away"
    if not np.ma.is_masked(row["significance"]):
        text += f", significance {row['significance']:.1f}"
    return text if row["accepted"] else f"{text} (does not hold as a cluster)"


def _method(facts):
    seed = f", seed {facts['seed']}" if "seed" in facts else ""
    seconds = f", {facts['seconds']:.1f} s" if "seconds" in facts else ""
    return f"{facts['method']}{seed}{seconds}; decocc_vo {facts['version']}"


def _counts(facts):
    if not facts["stars_not_used"]:
        return f"{facts['stars_used']} used"
    why = ", ".join(f"{number} {_NOT_USED[reason]}" for reason, number in facts["not_used"].items())
    return f"{facts['stars_used']} used, {facts['stars_not_used']} not ({why}), which are masked in the table"


def _release(stars):
    epoch = stars.meta.get("ref_epoch")
    name = stars.meta.get("release", "unknown")
    if stars.meta.get("release_key") == "unknown":
        return f"{name}; --release says which, for its epoch and parallax zero point"
    return f"{name}, epoch J{epoch:g}" if epoch is not None else f"{name}, epoch not stated"


def _rounded(value, error):
    """Value with as many digits as its error has significant ones, two."""
    if np.ma.is_masked(value) or np.ma.is_masked(error) or not error > 0:
        return "?" if np.ma.is_masked(value) else f"{value:.3f}"
    return f"{value:.{min(max(1 - math.floor(math.log10(error)), 0), 6)}f}"


def _significant(value, digits=3):
    if not value > 0:
        return "0"
    return f"{value:.{max(digits - 1 - math.floor(math.log10(value)), 0)}f}"


def as_json(result, region, stars, files, notes=()):
    """
    The whole result but the table, as JSON; missing values are null, and never NaN.

    Keys: ``found``, ``summary`` (null without a cluster), ``candidates``, ``units`` of both, ``region``, ``stars``
    (source, release, epoch, query, counts), ``stop_reason``, ``diagnostics``, ``files`` written, and ``notes``, the
    warnings of the run.
    """
    facts, meta = result.diagnostics, stars.meta
    text = {
        "found": result.found,
        "summary": _rows(result.summary)[0] if result.found else None,
        "candidates": _rows(result.candidates),
        "units": {c.name: c.unit.to_string() for c in result.candidates.itercols() if c.unit is not None},
        "region": None
        if region is None
        else {"name": region.name, "ra": region.ra_deg, "dec": region.dec_deg, "radius_deg": region.radius_deg},
        "stars": {
            **{key: meta.get(key) for key in ("source", "release", "release_key", "ref_epoch", "query", "retrieved")},
            "rows": len(result.table),
            "used": facts["stars_used"],
            "not_used": facts["stars_not_used"],
        },
        "stop_reason": facts["stop_reason"],
        "diagnostics": facts,
        "files": files,
        "notes": list(notes),
    }
    return json.dumps(_plain(text), indent=2, allow_nan=False)


def _rows(table):
    return [{name: row[name] for name in table.colnames} for row in table]


def _plain(value):
    """What JSON can hold: numpy's numbers as Python's, not-a-number and masked as null."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if np.ma.is_masked(value) and np.ndim(value) == 0:
        return None
    if isinstance(value, np.ndarray | np.generic):
        return _plain(np.ma.filled(value, np.nan).tolist() if np.ma.isMaskedArray(value) else value.tolist())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
