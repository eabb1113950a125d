"""Settings of the site, as a user writes them into the file that the docs name."""

import subprocess
import sys
from pathlib import Path

import pytest

from decocc_vo.config import Conf, cache_folder, check_settings, conf
from decocc_vo.exceptions import ServiceError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a line of Python, or the program, with a file of settings."""
    folder = tmp_path / "astropy"
    folder.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def with_settings(text, *args):
        (folder / "decocc_vo.cfg").write_text(text)
        return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=120, check=False)

    return with_settings


def test_settings_are_read_from_the_file(run):
    code = "from decocc_vo import conf; print(conf.survey, conf.deadline, conf.resolve_names_online)"
    done = run("survey = hipparcos2\ndeadline = 60\nresolve_names_online = False\n", "-c", code)
    assert done.stdout == "hipparcos2 60.0 False\n"


def test_programs_that_the_tests_start_resolve_no_names_online():
    code = "from decocc_vo import conf; print(conf.resolve_names_online)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[config", "cannot be used: Invalid line ('[config')"),
        ("timeout = soon", "cannot be used: 'timeout'"),
        ("deadline = 0", "cannot be used: 'deadline'"),
    ],
)
def test_a_slip_in_the_file_is_told(run, text, told):
    done = run(text, "-m", "decocc_vo", "run", "Melotte 25", "--show-query")
    assert done.returncode == 2
    assert told in done.stderr
    assert "bug" not in done.stderr


def test_a_setting_that_is_none_is_told(run):
    done = run("surveyy = gaia_dr3", "-m", "decocc_vo", "run", "Melotte 25", "--show-query")
    assert done.returncode == 0
    assert "'surveyy', which is no setting" in done.stderr


def test_every_setting_is_described():
    assert {name for name in conf} == {name for name in vars(Conf) if name in conf}
    assert all(item.description for item in conf.values())
    check_settings()


def test_no_place_for_what_is_fetched_is_told(monkeypatch):
    monkeypatch.setattr("astropy.config.get_cache_dir", lambda _: Path("/proc/none").mkdir(parents=True))
    with pytest.raises(ServiceError, match="set HOME, or XDG_CACHE_HOME to a folder that is there"):
        cache_folder()
