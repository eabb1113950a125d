"""The page of a run: complete, self-contained, safe, and a VOTable at the same time."""

import base64
import re
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from desktop.fakes import QuickFit, cluster_table, renamed
from desktop.programs import need

from decocc_vo import report
from decocc_vo.exceptions import InputError, ServiceError
from decocc_vo.region import ClusterRegion
from decocc_vo.report import _members, render_report, write_report
from decocc_vo.samp._reading import fetch_table
from decocc_vo.samp.sending import member_rows, table_key

XHTML = "{http://www.w3.org/1999/xhtml}"
EVIL = 'M 44 <script>alert(1)</script> & "x" </SCRIPT> <!-- \x00\x0b ]]> é'


@pytest.fixture(scope="module")
def result():
    stars = cluster_table()
    stars["source_id"][0] = 2**62 + 1
    stars.meta["query"] = "SELECT * FROM t WHERE a < b AND c > d"
    return QuickFit()(stars, ClusterRegion.from_table(stars, name="M 44"))


@pytest.fixture(scope="module")
def page(result):
    return render_report(result)


@pytest.fixture(scope="module")
def tree(page):
    return ET.fromstring(page)


def text_of(tree):
    return " ".join(x.strip() for x in tree.find(f"{XHTML}body").itertext() if x.strip())


def test_it_tells_the_summary_the_candidates_and_the_provenance(tree, result):
    text = text_of(tree)
    cluster = result.summary[0]
    assert tree.find(f".//{XHTML}h1").text == "M 44"
    assert f"{cluster['n_members']} members among 400 stars." in text
    assert "The stand-in is always done at once." in text
    assert report._number(cluster["parallax"], cluster["parallax_error"]) in text
    assert "Gaia DR3" in text
    assert "quick" in text
    assert "SELECT * FROM t WHERE a < b AND c > d" in text
    assert str(2**62 + 1) in text, "an identifier lost digits"
    rows = tree.findall(f".//{XHTML}table[@id='members']/{XHTML}tbody/{XHTML}tr")
    assert len(rows) == cluster["n_members"]
    probabilities = [float(row[-1].text) for row in rows]
    assert probabilities == sorted(probabilities, reverse=True)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (5.39751, 0.0057, "5.3975 ± 0.0057"),
        (-36.0081, 0.35, "-36.01 ± 0.35"),
        (107.2, 12.0, "107 ± 12"),
        (1.0, 0.0, "1.000"),
        (1.0, np.nan, "1.000"),
        (np.nan, 0.1, "–"),
        (None, None, "–"),
    ],
)
def test_numbers_have_the_digits_their_error_allows(value, error, text):
    assert report._number(value, error) == text


def test_it_needs_nothing_from_elsewhere(page, tree):
    images = tree.findall(f".//{XHTML}img")
    assert len(images) == 4
    for image in images:
        assert base64.b64decode(image.get("src").split(",", 1)[1]).startswith(b"\x89PNG")
        assert image.get("alt")
    without_table = re.sub("<VOTABLE.*</VOTABLE>", "", page, flags=re.DOTALL)
    addresses = set(re.findall(r"""https?://[^\s"'<>]+""", without_table))
    assert addresses == {"http://www.w3.org/1999/xhtml", "http://localhost:21012/"}
    assert not re.search(r"(src|href)=\"(?!data:|#)", without_table)


def test_it_is_a_votable(tmp_path, result):
    path = write_report(result, tmp_path / "M 44.html")
    table = fetch_table(path.as_uri(), "table.load.votable")
    assert (table["source_id"] == result.table["source_id"]).all()
    assert np.ma.allclose(table["membership_prob"], result.table["membership_prob"])
    facts = re.search(r'<script type="application/json" id="samp">(.*?)</script>', path.read_text()).group(1)
    assert f'"{table_key(result.table)}"' in facts
    assert all(f'"{row}"' in facts for row in member_rows(result.table))


def test_stilts_reads_it(tmp_path, result):
    need("stilts")
    path = write_report(result, tmp_path / "report.html")
    command = ["stilts", "tpipe", f"in={path}", "cmd=keepcols source_id", "ofmt=csv"]
    ids = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert ids == ["source_id", *map(str, result.table["source_id"])]


def test_text_of_the_data_cannot_become_markup(result, tmp_path):
    table = result.table.copy()
    table.meta["query"] = EVIL
    table.meta["decocc"] = {**table.meta["decocc"], "region": EVIL, "settings": {EVIL: EVIL}}
    diagnostics = {**result.diagnostics, "stop_reason": EVIL}
    page = render_report(replace(result, table=table, diagnostics=diagnostics), title=EVIL)
    tree = ET.fromstring(page)
    assert "<script>alert" not in page
    assert "<!--" not in page
    assert page.lower().count("</script") == 3
    assert tree.find(f".//{XHTML}h1").text.startswith('M 44 <script>alert(1)</script> & "x" </SCRIPT> <!-- ')
    (tmp_path / "r.html").write_text(page, encoding="utf-8")
    table = fetch_table((tmp_path / "r.html").as_uri(), "table.load.votable")
    assert len(table) == 400


def test_without_a_cluster_it_says_so(result):
    stars = cluster_table()
    stars["pmra"] = 1000.0
    nothing = QuickFit()(stars, ClusterRegion.from_table(stars))
    assert not len(nothing.summary)
    text = text_of(ET.fromstring(render_report(nothing)))
    assert "No cluster was found." in text
    assert "The stand-in is always done at once." in text


def test_of_a_long_table_the_likely_members_are_embedded(result, monkeypatch, tmp_path):
    monkeypatch.setattr(report, "ROWS_EMBEDDED", 100)
    monkeypatch.setattr(report, "_LISTED", 10)
    path = write_report(result, tmp_path / "long.html")
    table = fetch_table(path.as_uri(), "table.load.votable")
    assert len(table) == (result.table["membership_prob"] >= 0.01).sum() < 100
    text = text_of(ET.fromstring(path.read_text()))
    assert "The 10 most probable of" in text
    assert f"a VOTable of {len(table)} of the 400 stars" in text
    assert f"Download the table of {len(table)} stars that may be members" in text


def test_masked_values_are_dashes_and_no_members(result):
    table = result.table.copy()
    table["membership_prob"].mask[:20] = True
    table["bp_rp"].mask[30] = True
    tree = ET.fromstring(render_report(replace(result, table=table)))
    rows = tree.findall(f".//{XHTML}table[@id='members']/{XHTML}tbody/{XHTML}tr")
    assert len(rows) == len(member_rows(table))
    assert sum("–" in [cell.text for cell in row] for row in rows) == 1


def test_wrong_use_is_refused(result, tmp_path):
    with pytest.raises(InputError, match=r"'path' 'report\.txt' must end in \.html"):
        write_report(result, tmp_path / "report.txt")
    write_report(result, tmp_path / "report.html")
    with pytest.raises(InputError, match="exists already"):
        write_report(result, tmp_path / "report.html")
    assert write_report(result, tmp_path / "report.html", overwrite=True) == tmp_path / "report.html"
    with pytest.raises(InputError, match="'result' must be what fit returned"):
        write_report(result.table, tmp_path / "table.html")
    with pytest.raises(ServiceError, match="no does not exist"):
        write_report(result, tmp_path / "no" / "folder.html")


def test_members_of_a_table_of_other_names_are_listed(result):
    stars = renamed(result.table, {"ra": "RA_ICRS", "pmra": "mu"})
    cells = ET.fromstring(render_report(replace(result, table=stars))).iter(f"{XHTML}th")
    header = [" ".join(cell.itertext()) for cell in cells]
    assert {"ra", "pmra"} <= {text.split()[0] for text in header if text.strip()}


def test_identifiers_that_are_text_are_listed(result):
    table = result.table.copy()
    table["source_id"] = [f"{number}" for number in table["source_id"]]
    assert _members(table)["rows"] == _members(result.table)["rows"]
