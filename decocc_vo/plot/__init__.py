"""
Figures of a result: proper motions, parallax, colour-magnitude diagram and sky, for the width of a journal's column.

Every figure has the field in grey and the members on top, coloured by their probability. No state of matplotlib is
changed: figures are made without pyplot, in a style of their own that is left behind at once. A figure that is not
wanted in that style takes the caller's axes instead.
"""

from ._figures import plot_cmd, plot_parallax, plot_proper_motions, plot_sky, plot_summary, save_plots

__all__ = ["plot_cmd", "plot_parallax", "plot_proper_motions", "plot_sky", "plot_summary", "save_plots"]
