"""``decocc-vo run``: from a cluster's name, or a table of stars, to its members."""

import gzip
import logging
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from ..exceptions import InputError, ServiceError
from ._interrupt import check, fitting
from ._methods import FIRST, METHODS, PRESETS, make_method
from ._show import as_json, as_text
from ._sources import (
    add_region_arguments,
    add_service_arguments,
    check_folder,
    find_stars,
    keep_compiled,
    mapping,
    print_query,
)

NAME = "run"
HELP = "find the members of a cluster and characterise it"
DESCRIPTION = "Find the members of a cluster and print its characterisation."
EXAMPLE = """\
examples:
  decocc-vo run "Melotte 25" --survey hipparcos2 --output hyades.vot --plots plots
  decocc-vo run "M 67" --survey gaia_dr3 --radius 40arcmin --where "phot_g_mean_mag < 18"
  decocc-vo run --stars field.fits --method hdbscan --format json

exit codes: 0 done; 1 ran well and found no cluster; 2 wrong use or bad input;
  3 a service, a program or a file failed
"""

log = logging.getLogger("decocc_vo.cli")


def add_arguments(parser):
    """The options of ``decocc-vo run``."""
    add_region_arguments(parser)
    source = parser.add_argument_group("stars")
    source.add_argument(
        "--stars",
        metavar="FILE",
        help="FITS, VOTable, ECSV, CSV or Parquet; the region is then the table's footprint, about TARGET if in it",
    )
    source.add_argument(
        "--columns", type=mapping, metavar="NAME=YOURS,...", help="names of the file's columns: pmra=pmRA,parallax=plx"
    )
    source.add_argument("--release", help="release the file's stars come from, where the file does not say")
    add_service_arguments(source)
    method = parser.add_argument_group("method")
    method.add_argument("--method", choices=METHODS, default="decocc", help="default: decocc")
    method.add_argument("--preset", choices=PRESETS, default="default", help="thesis: the published recipe of DECOCC")
    method.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all random draws (default: 0)")
    method.add_argument(
        "--first", choices=FIRST, help="first clustering, which says where to look (default: density, its peaks)"
    )
    method.add_argument(
        "--no-photometry", action="store_true", help="leave magnitudes and colours out: a selection without them"
    )
    method.add_argument(
        "--compilation-cache", metavar="DIR", help="folder in which JAX keeps compiled programs for the next run"
    )
    out = parser.add_argument_group("results")
    out.add_argument(
        "--output", metavar="FILE", help="write all stars with their probabilities: .vot .fits .ecsv .parquet"
    )
    out.add_argument(
        "--plots",
        metavar="DIR",
        help="write the figures there, as PNG and PDF of fixed names: a folder for each cluster",
    )
    out.add_argument(
        "--report",
        metavar="FILE.html",
        help="write one page with summary, figures and table, of over 20 000 stars those that may be members",
    )
    out.add_argument("--send", metavar="PROGRAM", help="send the table by SAMP: topcat, aladin or all")
    out.add_argument("--hub", action="store_true", help="start a SAMP hub where none runs")
    out.add_argument("--format", choices=("text", "json"), default="text", help="of what is printed (default: text)")


def run(options):
    """Run the command; returns the exit code."""
    settings = {"first": options.first} if options.first else {}
    settings |= {"photometry": False} if options.no_photometry else {}
    method = make_method(options.method, options.preset, options.seed, **settings)
    if options.hub and options.send is None:
        msg = "'hub' starts a hub for 'send', and there is nothing to send; add --send topcat"
        raise InputError(msg)
    _check_paths(options)
    if options.show_query:
        return print_query(options)
    _check_hub(options)
    stars, region, inside = find_stars(options)
    log.info("%d stars from %s", len(stars), stars.meta["source"])
    if options.method == "decocc":
        keep_compiled(options)
    _rehearse(options, stars)
    with fitting(NAME):
        result = _fit(method, stars, region, inside)
    log.debug("diagnostics: %s", result.diagnostics)
    if options.notes:
        result.table.meta["decocc"]["notes"] = list(options.notes)
    files, sent, refusal = [], [], None
    try:
        for written in _write(options, result, region):
            files.append(written)
            check()
        sent = _send(options, result, region)
        check()
    except (Exception, KeyboardInterrupt) as error:  # what was found is shown all the same
        refusal = error
    if options.format == "json":
        print(as_json(result, region, stars, files, options.notes))
    else:
        print(as_text(result, region, stars, sys.stdout.encoding))
        for label, paths in (
            ("table", [options.output] if options.output in files else []),
            ("plots", [options.plots] if any(file.endswith(".png") for file in files) else []),
            ("report", [options.report] if options.report in files else []),
            ("sent to", sent),
        ):
            for path in paths:
                print(f"  {label:<13s}{path}")
    if refusal is not None:
        raise refusal
    return 0 if result.found else 1


def _check_paths(options):
    """Refuse what could not be written before the work is done."""
    if options.output is not None:
        from ..votable import file_format

        file_format(options.output, "output")
        check_folder(options.output)
        if options.stars is not None:
            _check_replaced(Path(options.stars).expanduser(), Path(options.output).expanduser())
    if options.report is not None:
        if not options.report.lower().endswith((".html", ".htm")):
            msg = f"'report' {options.report} must end in .html"
            raise InputError(msg)
        check_folder(options.report)
    if options.plots is not None:
        folder = Path(options.plots).expanduser()
        if folder.is_file():
            msg = f"'plots' {options.plots} is a file, and a folder is wanted"
            raise InputError(msg)
        folder.mkdir(parents=True, exist_ok=True)
        check_folder(folder / "summary.png")


def _check_replaced(stars, output):
    """Refuse to write over the file that the stars come from if it holds more than their table."""
    if not (stars.is_file() and output.exists() and stars.samefile(output)):
        return
    others, what = _beside_the_stars(stars)
    if others > 0:
        msg = (
            f"'output' {output} is the file of the stars, and {others} {what} more in it would be lost; write elsewhere"
        )
        raise InputError(msg)


def _beside_the_stars(path):
    """How many parts a file has beside the table of stars, and what they are; what is wrong with it is told later."""
    from xml.etree import ElementTree

    from astropy.io import fits

    tables = 0
    try:
        with path.open("rb") as file, gzip.open(file) if file.peek(2)[:2] == b"\x1f\x8b" else file as content:
            if content.read(6) == b"SIMPLE":
                with fits.open(path) as hdus:
                    return len(hdus) - 2, "HDU"
            content.seek(0)
            for _, element in ElementTree.iterparse(content):
                tables += element.tag.rpartition("}")[2] == "TABLE"
                element.clear()
    except (OSError, EOFError, ElementTree.ParseError):  # not a VOTable, or a damaged file
        pass
    return tables - 1, "TABLE"


def _rehearse(options, stars):
    """
    Write some of the stars: what the format cannot hold is told before the work is done.

    The trial is on another disk, of which nothing is told.
    """
    if options.output is None:
        return
    from ..votable import write_table

    with suppress(ServiceError), TemporaryDirectory() as folder:
        write_table(stars[:100], Path(folder) / Path(options.output).name)


def _check_hub(options):
    """Refuse to send where no hub runs, before the work is done."""
    if options.send is None or options.hub:
        return
    from ..samp import hub_running
    from ..samp.client import NO_HUB

    if not hub_running():
        raise ServiceError(NO_HUB)


def _fit(method, stars, region, inside):
    """Fit the stars of the region; those of a file that lie outside come back masked, like all that are not used."""
    if inside is None:
        return method.fit(stars, region)
    from ..membership import with_rows_outside

    return with_rows_outside(method.fit(stars[inside], region), stars, inside)


def _write(options, result, region):
    """Write what was asked for; yields the files' names, each when it is written."""
    if options.output is not None:
        from ..votable import write_table

        write_table(result.table, Path(options.output).expanduser())
        yield options.output
    if options.plots is not None:
        from ..plot import save_plots

        yield from map(str, save_plots(result, Path(options.plots).expanduser(), region=region))
    if options.report is not None:
        from ..report import write_report

        write_report(result, options.report, region=region, overwrite=True)
        yield options.report


def _send(options, result, region):
    """Send the table to the programs that were named; returns their names."""
    if options.send is None:
        return []
    from ..samp import hub_running, send_table

    if options.hub and not hub_running():
        who = "a program" if options.send == "all" else options.send
        log.info("a SAMP hub starts; it waits a minute for %s to join", who)
    return send_table(result.table, options.send, name=region and region.name, hub=options.hub)
