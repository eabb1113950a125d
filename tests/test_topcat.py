"""A real TOPCAT, operated as a person would, with the live session on either hub."""

import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from desktop.fakes import QuickFit, a_hub, cluster_table, until
from desktop.programs import jsamp_hub, need, screen, topcat, votlint

from decocc_vo.samp import LiveSession, hub_running, send_table
from decocc_vo.samp import client as samp_client
from decocc_vo.samp._inbox import LOOK_SECONDS
from decocc_vo.samp._reading import fetch_table
from decocc_vo.votable import write_votable

pytestmark = [pytest.mark.topcat, pytest.mark.filterwarnings("ignore::pyvo.samp.SAMPWarning")]

N = 400


class Desktop:
    """TOPCAT with the stars loaded, a live session, and a client that overhears what TOPCAT says."""

    def __init__(self, folder, window, fit):
        self.folder, self.window, self.fit = folder, window, fit
        self.heard, self.lines = [], []
        self.session = LiveSession(fit, selection="seed", on_line=self.lines.append)

    def overhear(self, mtype, params, sender):
        self.heard.append((mtype, params))

    def broadcast_table(self, label):
        """Choose a table and press the button, which is there once TOPCAT has noticed both table and session."""

        def press():
            self.choose_table(label)
            return self.window.ask("press", "TOPCAT", "Broadcast table")[0]

        until(press, 60, step=0.2)

    def open_subsets(self):
        """Show the window of the current table's row subsets."""
        self.window("press", "TOPCAT", "Row Subsets")
        until(lambda: self.subset_window in self.window("windows"))

    @property
    def subset_window(self):
        return f"TOPCAT({self.number}): Row Subsets"

    def broadcast_subset(self, name):
        """
        Select a row subset and press the button, which is there once the selection was noticed, until it works.

        On a busy machine a press is lost now and then: TOPCAT tells nobody, and a person presses again.
        """

        def press():
            self.window("choose", self.subset_window, name)
            if not self.window.ask("press", self.subset_window, "Broadcast Row Subset")[0]:
                return False
            with suppress(AssertionError):
                return until(lambda: [m for m in self.heard if m[0] == "table.select.rowList"], 5)

        self.heard.clear()
        until(press, step=0.2)

    def subsets(self):
        """Rows of the subset window: name -> number of rows."""
        rows = [line.split("\t") for line in self.window("cells", self.subset_window).splitlines()]
        return {row[1]: row[2] for row in rows if len(row) > 2}

    def choose_table(self, label):
        """Make a table the current one in the control window."""
        found = until(lambda: [x for x in self.window("cells", "TOPCAT").splitlines() if x.split(": ", 1)[-1] == label])
        self.window("choose", "TOPCAT", found[0])
        self.number = found[0].split(":")[0]

    def photograph(self, name):
        """Keep a picture of the screen for the documentation, if that is asked for."""
        if "DECOCC_SCREENSHOTS" in os.environ:
            path = Path(os.environ["DECOCC_SCREENSHOTS"]) / f"{name}.png"
            self.window("photograph", path, 0, 0, 1400, 900)


@contextmanager
def either_hub(kind, folder, environment):
    if kind == "ours":
        with a_hub():
            yield
    else:
        with jsamp_hub(folder, environment):
            until(hub_running, 30)
            yield


@pytest.fixture(scope="module", params=["ours", "jsamp"])
def desktop(request, tmp_path_factory):
    """Started once for each hub; the tests below follow one session from top to bottom."""
    need("topcat", "Xvfb", "javac", "jsamp", "stilts")
    folder = tmp_path_factory.mktemp(f"topcat-{request.param}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAMP_HUB", f"std-lockurl:file://{folder}/.samp")
        write_votable(cluster_table(N), folder / "M44.vot")
        with (
            screen(folder) as environment,
            either_hub(request.param, folder, environment),
            topcat(folder, environment, folder / "M44.vot") as window,
        ):
            desk = Desktop(folder, window, QuickFit())
            mtypes = ("table.load.votable", "table.select.rowList", "table.highlight.row", "coord.pointAt.sky")
            with (
                desk.session,
                samp_client.connect("overhearer", receive=desk.overhear, subscriptions=mtypes) as ear,
            ):
                until(lambda: [p for p in ear.programs() if p.name == "topcat" and p.takes("table.load.votable")], 60)
                until(lambda: ": M44.vot" in window("cells", "TOPCAT"), 30)
                window.ask("hide", "Load New Table")  # if it is still there
                yield desk


def test_a_broadcast_table_comes_back_with_its_members(desktop):
    desktop.broadcast_table("M44.vot")
    until(lambda: desktop.session.tables)
    assert desktop.session.wait(60)
    (entry,) = desktop.session.tables
    assert (entry.table["source_id"] == cluster_table(N)["source_id"]).all(), "64-bit ids lost digits on the way"
    assert entry.table["source_id"].dtype == np.int64
    assert entry.table["pmra"].unit == "mas / yr"
    desktop.choose_table(f"{entry.name} members")
    desktop.open_subsets()
    until(lambda: desktop.subsets().get("DECOCC") == str(len(entry.rows)))
    assert len(entry.rows) >= 70
    # And the table the user has open shows them, too.
    desktop.choose_table("M44.vot")
    desktop.open_subsets()
    until(lambda: desktop.subsets().get("DECOCC") == str(len(entry.rows)))


def test_what_topcat_has_is_what_was_sent(desktop):
    (entry,) = desktop.session.tables
    desktop.heard.clear()
    desktop.broadcast_table(f"{entry.name} members")
    (_, load), *_ = until(lambda: [m for m in desktop.heard if m[0] == "table.load.votable"])
    back, sent = fetch_table(load["url"], "table.load.votable"), entry.membership.table
    assert (back["source_id"] == sent["source_id"]).all()
    for name in ("ra", "pmra", "membership_prob", "group", "candidate"):
        assert np.array_equal(np.ma.filled(back[name], -9), np.ma.filled(sent[name], -9)), name
    assert back["membership_prob"].meta["ucd"] == "stat.probability"
    # It was broadcast to the session as well, which knows it by its id and fits it anew, in place.
    until(lambda: entry.fits == 2)
    assert desktop.session.wait(60)
    assert desktop.session.tables == [entry]


def test_rows_selected_in_topcat_start_a_refit_and_the_new_members_are_lit(desktop):
    entry, before = desktop.session.tables[0], desktop.session.tables[0].fits
    desktop.choose_table("M44.vot")
    desktop.open_subsets()
    desktop.window("press", desktop.subset_window, "New subset")
    desktop.window("fill", "Define Row Subset", 0, "mine")
    desktop.window("fill", "Define Row Subset", 1, "index > 200 && index <= 203")
    desktop.window("press", "Define Row Subset", "OK")
    until(lambda: "mine" in desktop.subsets())
    desktop.broadcast_subset("mine")
    until(lambda: entry.fits == before + 1)
    assert desktop.session.wait(60)
    assert np.flatnonzero(desktop.fit.calls[-1]["start"]).tolist() == [200, 201, 202]
    until(lambda: desktop.subsets().get("DECOCC") == str(len(entry.rows)))
    # A second selection of the same rows in the other direction: the members of the first cluster.
    desktop.session.selection = "field"
    desktop.broadcast_subset("mine")
    until(lambda: entry.fits == before + 2)
    assert desktop.session.wait(60)
    assert not set(entry.rows) & {200, 201, 202}
    desktop.session.selection = "seed"


def test_highlights_and_positions_go_both_ways(desktop):
    entry = desktop.session.tables[0]
    assert desktop.session.highlight(entry, 7) == ["topcat"]
    desktop.choose_table(f"{entry.name} members")
    desktop.window("press", "TOPCAT", "Activation Actions")
    region, heard = entry.region, {}
    # The list shows icons, no text. The row's position follows on its highlight: only a look, the region stays.
    for name, number in (("Send row index", 8), ("Send Sky Coordinates", 1)):
        desktop.window("choose", "Activation Actions", f"#{number}")
        desktop.heard.clear()
        desktop.window("press", "Activation Actions", "Invoke selected action on current row (8)")
        heard[name] = until(lambda: desktop.heard)[0]
    assert heard["Send row index"][0] == "table.highlight.row"
    assert heard["Send row index"][1]["row"] == "7"
    line = until(lambda: [x for x in desktop.lines if f"source_id {entry.table['source_id'][7]}: membership" in x])
    assert "sigma" in line[0]
    assert heard["Send Sky Coordinates"][0] == "coord.pointAt.sky"
    assert entry.region == region
    time.sleep(LOOK_SECONDS)  # the user takes a moment
    desktop.window("press", "Activation Actions", "Invoke selected action on current row (8)")
    until(lambda: entry.region != region)
    assert desktop.session.wait(60)
    assert (entry.region.ra_deg, entry.region.dec_deg) == pytest.approx((entry.table["ra"][7], entry.table["dec"][7]))


def test_all_that_was_sent_is_valid(desktop, tmp_path):
    files = sorted(Path(desktop.session._folder.name).glob("*.vot"))
    assert files
    for path in files:
        assert votlint(path, tmp_path) == [], path


def test_a_table_sent_once_is_there_under_its_id_with_its_subset(desktop):
    result = QuickFit()(cluster_table(N, seed=5), desktop.session.tables[0].region)
    assert send_table(result, client="topcat", name="sent once", table_id="once") == ["topcat"]
    desktop.choose_table("sent once")
    desktop.open_subsets()
    until(lambda: desktop.subsets().get("DECOCC") == str(len(result.members)))


def test_a_picture_for_the_documentation(desktop):
    """The windows a user sees at the end; without DECOCC_SCREENSHOTS they are only arranged."""
    desktop.choose_table("sent once")
    desktop.window("place", "TOPCAT", 0, 0, 760, 330)
    desktop.open_subsets()
    desktop.window("place", desktop.subset_window, 0, 340, 760, 260)
    desktop.window("hide", "Activation Actions")
    desktop.window("press", "TOPCAT", "Plane Plot")
    desktop.window("place", "Plane Plot", 765, 0, 635, 880)
    assert "Plane Plot" in desktop.window("windows")
    if "DECOCC_SCREENSHOTS" in os.environ:
        time.sleep(6)  # it draws in the background
    desktop.photograph("topcat")
