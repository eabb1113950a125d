"""Which stars a command is about: the options for them, and the table and region they stand for."""

import logging
import os
from pathlib import Path

from ..exceptions import InputError, ServiceError

__all__ = [
    "add_region_arguments",
    "add_service_arguments",
    "check_folder",
    "find_region",
    "find_stars",
    "keep_compiled",
    "mapping",
    "print_query",
    "query_options",
]

log = logging.getLogger("decocc_vo.cli")


def add_region_arguments(parser):
    """TARGET, ``--center`` and ``--radius``."""
    parser.add_argument("target", metavar="TARGET", nargs="?", help="name of the cluster: 'Melotte 25', 'M 67'")
    group = parser.add_argument_group("region")
    group.add_argument("--center", metavar="'RA DEC'", help="ICRS centre: '66.725 15.867' or '04 26 54 +15 52 00'")
    group.add_argument(
        "--radius",
        metavar="ANGLE",
        help="radius with its unit: 60arcmin, 1.5deg (default: 1.5 times the catalogued, at least 15arcmin)",
    )


def add_service_arguments(group):
    """How the stars of a Gaia release are fetched."""
    group.add_argument(
        "--survey",
        metavar="NAME",
        help="hipparcos2 (needs no network), gaia_dr2, gaia_edr3, gaia_dr3, or gaia_dr4 once it is "
        "open; the site's default is gaia_dr3",
    )
    group.add_argument(
        "--archive",
        metavar="URL",
        help="archive to look in first and to keep what comes: a DuckDB file or postgresql://",
    )
    group.add_argument("--url", help="TAP service: esa, aip, gavo, vizier, or its URL")
    group.add_argument(
        "--where",
        metavar="ADQL",
        action="append",
        help="condition on the stars, such as 'phot_g_mean_mag < 18'; of several all have to hold",
    )
    group.add_argument("--offline", action="store_true", help="open no connection: the archive has the stars, or not")
    group.add_argument("--show-query", action="store_true", help="print the ADQL query and stop")


def keep_compiled(options):
    """Let JAX keep what it compiles where the option or the settings say."""
    from ..config import conf

    folder = options.compilation_cache or conf.compilation_cache
    if folder:
        from ..embedding.compiled import keep_compiled

        keep_compiled(folder)


def mapping(text):
    """``"pmra=pmRA,parallax=plx"`` as a mapping."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    named = {name.strip(): theirs.strip() for name, _, theirs in pairs}
    if not all(named) or not all(named.values()) or len(named) < len(pairs):
        raise ValueError(text)
    return named


mapping.__name__ = "mapping NAME=YOURS[,NAME=YOURS]"  # argparse's word for it


def query_options(options):
    """Keyword arguments of `decocc_vo.query_region` for the survey's source."""
    from ..columns import get_release
    from ..config import conf

    given = {"url": options.url, "where": options.where, "archive": options.archive}
    if get_release(options.survey or conf.survey).key == "hipparcos2":
        unused = next((name for name, value in given.items() if value), None)
        if unused:
            msg = f"'{unused}' is for Gaia's releases; hipparcos2 comes with the install and has no query"
            raise InputError(msg)
        return {}
    given["archive"] = given["archive"] or conf.archive_url or True
    return {**given, "offline": options.offline, "progress": False if options.quiet else None}


def print_query(options):
    """Print what the survey would be asked; returns the exit code."""
    from ..stars.fetch import show_query

    if getattr(options, "stars", None) is not None:
        msg = "'show-query' shows what a survey is asked, and 'stars' is a file"
        raise InputError(msg)
    print(show_query(find_region(options), options.survey, where=options.where, url=options.url))
    return 0


def check_folder(path):
    """Refuse a file to write whose folder is not there, or is not to be written to, before the work is done."""
    path = Path(path).expanduser()
    path = path.resolve() if path.is_symlink() else path
    if path.is_dir():
        msg = f"{str(path)!r} is a folder; give a file's name"
        raise InputError(msg)
    if not path.parent.is_dir():
        msg = f"{str(path.parent)!r} is no folder; make it, or write elsewhere"
        raise ServiceError(msg)
    for place in (path.parent, *([path] if path.exists() else [])):
        if not os.access(place, os.W_OK):
            msg = f"{str(place)!r} may not be written to; write elsewhere"
            raise ServiceError(msg)


def _check_target(options):
    """Refuse a file where the cluster's name stands, as a shell gives them for ``--stars *.fits``."""
    from ..stars.files import ENDINGS

    target = options.target or ""
    if target.lower().removesuffix(".gz").endswith(tuple(ENDINGS)):
        msg = (
            f"'TARGET' {target!r} is a file, and a cluster's name is wanted; files are read with --stars, one at a time"
        )
        raise InputError(msg)


def _place_of(target, footprint):
    """Where a cluster of this name is, if that is among the stars; other names are labels."""
    from ..region import ClusterRegion

    try:
        known = ClusterRegion.from_name(target, footprint.radius, False)
    except InputError:
        return None
    apart = known.center.separation(footprint.center)
    if apart > 2 * footprint.radius:
        log.warning(
            "%s is known at %s, and the file's stars are not there: %s",
            target,
            known.center.to_string(),
            footprint.center.to_string(),
        )
    return known.center if apart <= footprint.radius else None


def find_region(options):
    """The cone that the options name."""
    from ..region import ClusterRegion

    _check_target(options)
    if options.center is not None:
        if options.radius is None:
            msg = "'radius' is needed with 'center', such as --radius 60arcmin"
            raise InputError(msg)
        return ClusterRegion.from_text(options.center, options.radius, options.target)
    if options.target is None:
        msg = "'TARGET' is missing: name a cluster, or give --center and --radius"
        raise InputError(msg)
    try:
        return ClusterRegion.from_name(options.target, options.radius, False if options.offline else None)
    except ServiceError as error:
        if options.survey != "hipparcos2":
            raise
        raise InputError(str(error)) from None  # this survey needs no service: what is wrong is the name


def find_stars(options):
    """
    The stars that the options name.

    Returns
    -------
    stars : `~astropy.table.Table`
    region : `~decocc_vo.region.ClusterRegion`
    inside : `~numpy.ndarray` of bool or None
        Which rows of a file lie in the cone that was asked for; None where all do.
    """
    if options.stars is not None:
        return _stars_of_file(options)
    from ..stars import query_region

    for name in ("columns", "release"):
        if getattr(options, name) is not None:
            msg = f"'{name}' says how to read the file of --stars, and there is none"
            raise InputError(msg)
    region = find_region(options)
    stars = query_region(region, options.survey, **query_options(options))
    if len(stars) == 0:
        msg = f"'region' holds no star of {stars.meta['release']} ({region}); take a larger radius"
        raise InputError(msg)
    return stars, region, None


def _bare_name(name):
    """A file's name without its ending; other dots are those of a position, as in ``ra115.4_dec-14.8.fits``."""
    from ..stars.files import ENDINGS

    name = name.removesuffix(".gz")
    return next((name[: -len(end)] for end in ENDINGS if name.lower().endswith(end)), name)


def _stars_of_file(options):
    from ..columns import conform, usable_rows
    from ..region import ClusterRegion
    from ..stars.files import read_stars

    unused = ("survey", "archive", "url", "where", "show_query")
    for name in unused:
        if getattr(options, name):
            msg = f"'stars' is a file, and '{name.replace('_', '-')}' asks a survey; leave one of them out"
            raise InputError(msg)
    _check_target(options)
    try:
        stars = read_stars(options.stars, options.columns, options.release)
    except InputError as error:
        if not str(error).startswith("'path'"):
            raise
        raise InputError("'stars'" + str(error).removeprefix("'path'")) from None  # the argument's name here
    name = options.target or _bare_name(Path(options.stars).name)
    known = conform(stars)
    usable = known[usable_rows(known)]
    if len(usable) < 3:  # no footprint; the method says how many it needs
        return stars, None, None
    footprint = ClusterRegion.from_table(usable, name)
    center = _place_of(options.target, footprint)
    if options.center is not None:
        center = ClusterRegion.from_text(options.center, footprint.radius, name).center
    if options.radius is None:
        if center is None:
            return stars, footprint, None
        apart = center.separation(footprint.center)
        if apart > 2 * footprint.radius:
            msg = f"'center' {options.center} is not where the file's stars are: {footprint}"
            raise InputError(msg)
        return stars, ClusterRegion(center, apart + footprint.radius, name), None
    region = ClusterRegion(center or footprint.center, options.radius, name)
    inside = region.contains(known["ra"], known["dec"])
    if not inside.any():
        msg = f"'center' and 'radius' hold no star of the file: {region}; its stars are in {footprint}"
        raise InputError(msg)
    return stars, region, inside
