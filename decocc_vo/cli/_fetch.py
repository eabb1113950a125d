"""``decocc-vo fetch``: the stars of a region, into a file and the archive."""

from pathlib import Path

from ..exceptions import InputError
from ._sources import add_region_arguments, add_service_arguments, check_folder, find_region, print_query, query_options

NAME = "fetch"
HELP = "bring the stars of a region into a file, and keep them in the archive"
DESCRIPTION = (
    "Fetch the stars of a region: all of them, or a clear failure. A run that was stopped goes on where it was."
)
EXAMPLE = """\
examples:
  decocc-vo fetch "NGC 2632" --survey gaia_dr3 --output praesepe.vot
  decocc-vo fetch --center "56.75 24.117" --radius 60arcmin --where "phot_g_mean_mag < 18" --show-query

exit codes: 0 done; 2 wrong use or bad input; 3 a service, a program or a file failed
"""


def add_arguments(parser):
    """The options of ``decocc-vo fetch``."""
    add_region_arguments(parser)
    source = parser.add_argument_group("stars")
    add_service_arguments(source)
    source.add_argument("--maxrec", type=int, metavar="N", help="take N rows at most, whichever they are")
    source.add_argument("--deadline", type=float, metavar="SECONDS", help="time everything may take, queues included")
    parser.add_argument("--output", metavar="FILE", help="write the stars: .vot .fits .ecsv .parquet")


def run(options):
    """Run the command; returns the exit code."""
    from ..stars import query_region

    if options.output is not None:
        from ..votable import file_format, write_table

        file_format(options.output, "output")
        check_folder(options.output)
    if options.show_query:
        return print_query(options)
    region = find_region(options)
    service = query_options(options)
    more = {name: getattr(options, name) for name in ("maxrec", "deadline") if getattr(options, name) is not None}
    if more and not service:
        msg = f"'{next(iter(more))}' is for services; hipparcos2 comes with the install"
        raise InputError(msg)
    stars = query_region(region, options.survey, **service, **more)
    print(f"{len(stars)} stars in {region}")
    print(f"  {'from':<13s}{stars.meta['source']}")
    print(f"  {'release':<13s}{stars.meta['release']}, epoch J{stars.meta['ref_epoch']:g}")
    if options.output is not None:
        write_table(stars, Path(options.output).expanduser())
        print(f"  {'table':<13s}{options.output}")
    return 0
