"""Sphinx settings; ``tox -e docs`` builds with them."""

import os
import sys
from pathlib import Path

from sphinx_astropy.conf.v3 import *  # noqa: F403

import decocc_vo
from decocc_vo import COLUMNS, RELEASES
from decocc_vo.membership import summary_table
from decocc_vo.plot._figures import _STYLE

project = "decocc_vo"
author = "The decocc_vo developers"
copyright = f"2026, {author}"
version = release = decocc_vo.__version__

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
# The inventories of other projects are on the web; a build without network goes without their links.
if not os.environ.get("DECOCC_VO_DOCS_LINKS"):
    intersphinx_mapping = {}
nitpicky = False
default_role = "py:obj"
suppress_warnings = ["app.add_directive"]

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
exclude_patterns = ["_build", "_generated", "**.ipynb_checkpoints"]

html_title = f"{project} {version}"
html_static_path = ["_static"]
html_theme_options = {"navigation_with_keys": False}
# Figures are drawn when the documentation is built, by the scripts in docs/figures.
plot_formats = [("png", 200)]
plot_html_show_formats = plot_html_show_source_link = False
plot_rcparams = _STYLE | {"xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "legend.fontsize": 7.5}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def _list_table(header, rows):
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [header, *rows]:
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _write_registries(folder):
    """Tables of columns and releases for the page on conventions, from where the package keeps them."""
    folder.mkdir(exist_ok=True)
    pages = {
        "columns": _list_table(
            ("Name", "Unit", "Type", "UCD", "Meaning"),
            (
                (f"``{c.name}``", c.unit or "", c.dtype, f"``{c.ucd}``", c.description)
                for c in COLUMNS.values()
                if not c.name.endswith("_corr") or c.name == "pmra_pmdec_corr"
            ),
        ),
        "releases": _list_table(
            ("Key", "Name", "Epoch", "Parallax zero point", "Cite"),
            (
                (f"``{r.key}``", r.name, r.ref_epoch or "not known yet", _zero_point(r), r.citation or r.unknown)
                for r in RELEASES.values()
            ),
        ),
        "summary": _list_table(
            ("Name", "Unit", "Meaning"),
            ((f"``{c.name}``", c.unit or "", c.description) for c in summary_table([]).itercols()),
        ),
    }
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _zero_point(release):
    rules = {"lindegren2021": "Lindegren et al. 2021, A&A 649, A4", "none": "none"}
    return rules.get(release.zero_point, f"{release.zero_point_value:+.3f} mas")


_write_registries(Path(__file__).with_name("_generated"))
sys.path.insert(0, str(Path(__file__).parent))
