"""What all tests share: no network, no settings of the user's, and the real data where there is some."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

# Before astropy is imported, here and in every program the tests start.
_HOME = Path(tempfile.mkdtemp(prefix="decocc_vo_tests_"))
for _variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
    _folder = _HOME / _variable.lower()
    (_folder / "astropy").mkdir(parents=True)
    os.environ[_variable] = str(_folder)
_CONFIG = _HOME / "xdg_config_home"
(_CONFIG / "astropy" / "astropy.cfg").write_text("[utils.iers.iers]\nauto_download = False\n")
(_CONFIG / "astropy" / "decocc_vo.cfg").write_text("resolve_names_online = False\n")
os.environ["MPLBACKEND"] = "Agg"
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(_HOME / "hypothesis")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

hypothesis.settings.register_profile("decocc_vo", deadline=None, max_examples=50, database=None)
hypothesis.settings.load_profile("decocc_vo")

_ROOT = Path(__file__).resolve().parents[1]
_guard = pytest.StashKey()
_LOOPBACK = ("127.", "::1", "localhost")


class NetworkUsed(Exception):
    """A test reached for the network; not an OSError, so that no code takes it for a service that is down."""


def _refuse_network(patch):
    """Let sockets connect to this machine only, for the whole session, the doctests of the package included."""

    def guarded(method):
        def connect(self, address):
            if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(_LOOPBACK):
                msg = f"a test connects to {address!r}; tests use no network, only servers of their own on loopback"
                raise NetworkUsed(msg)
            return method(self, address)

        return connect

    patch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    patch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        if name and not name.startswith((*_LOOPBACK, "0.0.0.0")) and name != socket.gethostname():
            msg = f"a test looks {name!r} up; tests use no network, only servers of their own on loopback"
            raise NetworkUsed(msg)
        return resolve(host, *args, **kwargs)

    patch.setattr(socket, "getaddrinfo", getaddrinfo)


def _asked_for_network(config):
    return "network" in (config.option.markexpr or "") and "not network" not in config.option.markexpr


def pytest_configure(config):
    from astropy.utils.iers import conf as iers_conf

    from decocc_vo.config import conf

    iers_conf.auto_download = False
    conf.resolve_names_online = False
    if not _asked_for_network(config):
        config.stash[_guard] = patch = pytest.MonkeyPatch()
        _refuse_network(patch)


def pytest_unconfigure(config):
    shutil.rmtree(_HOME, ignore_errors=True)
    if _guard in config.stash:
        config.stash[_guard].undo()


def pytest_collection_modifyitems(config, items):
    if not _asked_for_network(config):
        network = [item for item in items if item.get_closest_marker("network")]
        items[:] = [item for item in items if item not in network]
        config.hook.pytest_deselected(items=network)


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the real data, which is not in the repository; its tests are skipped where it is absent."""
    folder = Path(os.environ.get("DECOCC_VO_DATA") or _ROOT.parent / "shared" / "data")
    if not (folder / "fields" / "manifest.json").is_file():
        pytest.skip(f"no real data in {folder}; set DECOCC_VO_DATA to the folder that holds fields/manifest.json")
    return folder


@pytest.fixture(scope="session")
def field(shared_data):
    """Read one real field of stars by its name: ``field("melotte25_hipparcos2")``."""
    from decocc_vo.stars.files import read_stars

    def read(name):
        return read_stars(shared_data / "fields" / "stars" / f"{name}.fits")

    return read


@pytest.fixture
def samp_home(tmp_path, monkeypatch):
    """Lock file of a SAMP hub that only this test and the programs it starts know; there is no hub yet."""
    lock_file = tmp_path / "samp"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:file://{lock_file}")
    return lock_file
