"""Splitting a large query by ranges of source_id, so that each part stays under a service's row limit."""

import math
from dataclasses import dataclass

from .adql import HEALPIX_ORDER, LARGEST_ID, SOURCES_PER_PIXEL

_SPHERE = 4 * math.pi * math.degrees(1) ** 2
_PIXELS_WANTED = 300


@dataclass(frozen=True)
class Part:
    """The rows with a source_id from ``first`` to ``last``, both included; there are ``rows`` of them."""

    first: int
    last: int
    rows: int

    @property
    def is_all(self):
        """Whether it holds every source_id, so that a query needs no range."""
        return self.first <= 0 and self.last >= LARGEST_ID


def first_width(area):
    """Width in source_id of HEALPix pixels of which some hundreds cover an ``area`` in square degrees."""
    order = math.ceil(math.log(_PIXELS_WANTED * _SPHERE / 12 / max(area, 1e-9), 4))
    return SOURCES_PER_PIXEL * 4 ** (HEALPIX_ORDER - min(max(order, 0), HEALPIX_ORDER))


def split(counts, limit, width, first=0, last=LARGEST_ID):
    """
    Split the identifiers from ``first`` to ``last`` into parts of at most ``limit`` rows.

    Parameters
    ----------
    counts : callable
        ``counts(first, last, width)`` gives pairs (pixel, rows): how many identifiers from ``first`` to ``last``
        have ``identifier // width == pixel``; or None, when these are more pairs than the service sends.
    limit : int
        Rows a part may have.
    width : int
        Width of the first pixels; one that holds too many rows is looked at again with 64 times finer ones.
        Where the service does not send so many counts, they are 64 times wider.
    first, last : int, optional
        The range to split.

    Returns
    -------
    parts : list of Part
        In order, without gap or overlap, from ``first`` to ``last``; empty if there are no rows.
    """
    parts, start, end, rows = [], first, first, 0
    for upper, number in _pixels(counts, limit, width, first, last):
        if rows and rows + number > limit:
            parts.append(Part(start, end, rows))
            start, rows = end + 1, 0
        rows += number
        end = upper
    return [*parts, Part(start, last, rows)] if rows else parts


def _pixels(counts, limit, width, first, last):
    while (pairs := counts(first, last, width)) is None:
        width *= 64
    for pixel, rows in sorted((int(pixel), int(rows)) for pixel, rows in pairs):
        lower, upper = max(first, pixel * width), min(last, (pixel + 1) * width - 1)
        if rows > limit and upper > lower:
            yield from _pixels(counts, limit, max(1, width // 64), lower, upper)
        elif rows:
            yield upper, rows
