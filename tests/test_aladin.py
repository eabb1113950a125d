"""A real Aladin beside a real TOPCAT: one live session, and the members are lit in both."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from desktop.fakes import QuickFit, a_hub, cluster_table, until
from desktop.programs import aladin, need, screen, topcat

from decocc_vo.samp import LiveSession, overlay_script, send_script, send_table
from decocc_vo.samp import client as samp_client
from decocc_vo.samp._inbox import LOOK_SECONDS

pytestmark = [pytest.mark.aladin, pytest.mark.filterwarnings("ignore::pyvo.samp.SAMPWarning")]

N = 400


class Desktop:
    def __init__(self, sky, tables, fit):
        self.sky, self.tables, self.fit = sky, tables, fit
        self.highlights, self.points, self.selections = [], [], []
        self.session = LiveSession(
            fit,
            selection="seed",
            timeout=90,
            on_highlight=lambda entry, numbers: self.highlights.append(numbers),
            on_point=lambda entry, point: self.points.append(point),
            on_selection=lambda entry, rows: self.selections.append(rows),
        )

    def selected(self):
        """How many sources are selected; Aladin paints the number, so that it is read from the program itself."""
        return int(self.sky("value", "cds.aladin.Aladin", "aladin", "view", "vselobj"))

    def zoomed(self, degrees):
        """Ask for a width of the view; whether Aladin, which forgets it where it comes while a table loads, has it."""
        send_script(f"zoom {degrees:.2f}deg")
        time.sleep(1)
        width = float(self.sky("value", "cds.aladin.Aladin", "aladin", "view", "viewSimple", "0", "tailleRA"))
        return 0.8 < width / degrees < 1.6

    def photograph(self, name, *box):
        if "DECOCC_SCREENSHOTS" in os.environ:
            time.sleep(3)  # both draw in the background
            self.sky("photograph", Path(os.environ["DECOCC_SCREENSHOTS"]) / f"{name}.png", *box)


@pytest.fixture(scope="module")
def desktop(tmp_path_factory):
    need("aladin", "topcat", "Xvfb", "javac")
    folder = tmp_path_factory.mktemp("aladin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAMP_HUB", f"std-lockurl:file://{folder}/.samp")  # Aladin knows only its home's .samp
        with (
            screen(folder, "1800x900x24") as environment,
            a_hub(),
            aladin(folder, environment) as sky,
            topcat(folder, environment) as tables,
            samp_client.connect("watcher") as watcher,
        ):
            desk = Desktop(sky, tables, QuickFit())
            until(
                lambda: {p.name for p in watcher.programs() if p.takes("table.load.votable")} >= {"Aladin", "topcat"},
                90,
            )
            sky("place", "Aladin", 0, 0, 1000, 900)
            tables.ask("hide", "Load New Table")  # if it is still there
            tables("place", "TOPCAT", 1000, 0, 800, 330)
            with desk.session:
                yield desk


def test_the_result_appears_in_both_programs(desktop):
    entry = desktop.session.add(cluster_table(N), name="M 44")
    assert desktop.session.wait(120)
    assert len(entry.holders) == 2
    assert "M 44 members" in desktop.tables("cells", "TOPCAT")
    assert len(entry.rows) >= 70
    assert until(lambda: desktop.zoomed(2 * entry.region.radius_deg), 60)
    desktop.tables("press", "TOPCAT", "Row Subsets")
    until(lambda: f"DECOCC\t{len(entry.rows)}\t" in desktop.tables("cells", "Row Subsets"))


def test_a_region_drawn_in_aladin_lights_the_new_members_in_both(desktop):
    (entry,) = desktop.session.tables
    desktop.session.selection = "region"
    before = entry.fits
    desktop.sky("drag", "Aladin", "ViewSimple", 0.35, 0.35, 0.65, 0.65)
    until(lambda: desktop.selections)
    assert 20 < len(desktop.selections[0]) < 250
    until(lambda: entry.fits == before + 1)
    assert desktop.session.wait(60)
    assert desktop.fit.calls[-1]["start"] is not None
    assert desktop.fit.calls[-1]["n"] < N
    until(lambda: f"DECOCC\t{len(entry.rows)}\t" in desktop.tables("cells", "Row Subsets"))
    assert until(lambda: desktop.selected() == len(entry.rows))


def test_a_picture_for_the_documentation(desktop):
    """Both programs after the region was drawn; without DECOCC_SCREENSHOTS they are only arranged."""
    desktop.tables("place", "Row Subsets", 1000, 330, 800, 190)
    if "DECOCC_SCREENSHOTS" in os.environ:
        desktop.tables("press", "TOPCAT", "Table Data")
        desktop.tables("place", "Table Browser", 1000, 520, 800, 380)
    desktop.photograph("aladin_topcat", 0, 0, 1800, 900)
    assert "Aladin" in desktop.sky("windows")


def test_rows_selected_in_topcat_light_up_in_aladin(desktop):
    (entry,) = desktop.session.tables
    desktop.session.selection = "field"
    before, members = entry.fits, entry.rows
    desktop.tables("choose", "Row Subsets", "DECOCC")

    def broadcast():
        desktop.tables("choose", "Row Subsets", "DECOCC")
        return desktop.tables.ask("press", "Row Subsets", "Broadcast Row Subset")[0]

    until(broadcast, step=0.2)
    until(lambda: entry.fits == before + 1)
    assert desktop.session.wait(60)
    assert not set(members) & set(entry.rows), "what the user said is field is no member any more"
    until(lambda: desktop.selected() == len(entry.rows))
    desktop.session.selection = "seed"


def test_a_click_on_a_star_in_aladin_describes_it(desktop):
    (entry,) = desktop.session.tables
    fits = entry.fits
    assert sorted(desktop.session.highlight(entry, 3)) == ["Aladin", "topcat"]
    # Look for a star around the centre: the view is 2 radii wide, and the cluster in the middle is dense.
    for x, y in np.random.default_rng(1).uniform(0.44, 0.56, (40, 2)):
        desktop.sky("drag", "Aladin", "ViewSimple", x, y, x, y)
        time.sleep(0.3)
        if desktop.highlights:
            break
    (numbers,) = desktop.highlights[:1]
    assert numbers["source_id"] == entry.table["source_id"][numbers["row"]]
    assert set(numbers["sigma"]) == {"pmra", "pmdec", "parallax"}
    assert desktop.session.wait(30)
    assert entry.fits >= fits


def test_a_click_beside_the_stars_moves_the_region(desktop):
    (entry,) = desktop.session.tables
    time.sleep(LOOK_SECONDS + 0.5)  # the user takes a moment
    desktop.points.clear()
    fits = entry.fits
    desktop.sky("drag", "Aladin", "ViewSimple", 0.47, 0.25, 0.47, 0.25)
    until(lambda: desktop.points)
    until(lambda: entry.fits > fits)
    assert desktop.session.wait(60)
    assert entry.region.ra_deg == pytest.approx(desktop.points[-1][0])


def test_the_overlay_is_drawn(desktop, tmp_path):
    """Aladin's own picture of its view has the circles' colour, which it has nowhere else."""
    from matplotlib.image import imread

    (entry,) = desktop.session.tables
    table = QuickFit()(cluster_table(N), entry.home).table

    def magenta():
        send_script(f"sync; save {tmp_path}/view.png")
        until((tmp_path / "view.png").is_file)
        time.sleep(0.2)  # it may still be writing
        picture = imread(tmp_path / "view.png")
        (tmp_path / "view.png").unlink()
        return int(((picture[..., 0] > 0.9) & (picture[..., 1] < 0.2) & (picture[..., 2] > 0.9)).sum())

    before = magenta()
    send_script(overlay_script(table, entry.home, color="rgb(255,0,255)", size="60arcsec", image=None))
    until(lambda: magenta() > before + 200, step=0.5)


def test_a_table_is_sent_to_aladin_alone(desktop):
    result = QuickFit()(cluster_table(N, seed=8), desktop.session.tables[0].home)
    assert send_table(result, client="aladin", name="sent once") == ["Aladin"]
    until(lambda: desktop.selected() >= len(result.members))
    assert "sent once" not in desktop.tables("cells", "TOPCAT")
