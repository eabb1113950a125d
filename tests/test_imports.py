"""The law of the house: who may import whom, what an import costs, and where the releases are written."""

import ast
import importlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import decocc_vo

PACKAGE = Path(decocc_vo.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")  # that is `cli` itself

# Room -> the rooms it may import. `exceptions`, `_quietly` and `_checks` are everybody's; a room may import itself.
# Rooms of one line of the house's table (votable, samp, plot, report) may import those to their left.
LAW = {
    "exceptions": set(),
    "_quietly": set(),
    "_checks": set(),
    "columns": set(),
    "config": set(),
    "region": {"columns", "config"},
    "stars": {"columns", "config", "region"},
    "_groups": {"columns"},  # K-Means and the choice of a group, which the deep and the classic methods share
    "embedding": {"columns", "_groups"},
    "membership": {"columns"},
    "decocc": {"embedding", "membership", "columns", "region", "_groups"},
    "classic": {"membership", "columns", "region", "_groups"},
    "census": {"columns", "config", "region", "stars", "embedding", "decocc", "membership", "classic"},
    "stellar": {"columns", "membership"},
    "simulate": {"columns"},
    "votable": {"columns", "membership", "region"},
    "samp": {"columns", "membership", "region", "votable"},
    "plot": {"columns", "membership", "region", "votable", "samp"},
    "report": {"columns", "membership", "region", "votable", "samp", "plot"},
}
# The command that trains the head: `python -m decocc_vo.pretrain`.
LAW["pretrain"] = {"columns", "region", "stars", "embedding", "membership", "simulate", "decocc"}
LAW["cli"] = set(LAW) - {"pretrain"}
HEAVY = ("jax", "flax", "optax", "matplotlib", "sklearn", "scipy", "pyvo", "astroquery", "duckdb", "pyarrow", "pyongc")


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    """Every module an import statement of a file names, in functions too, as absolute dotted names."""
    here = ("decocc_vo", *path.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: -node.level]] if node.level else []
            base += node.module.split(".") if node.module else []
            if base == ["decocc_vo"]:  # from . import x, from .. import x
                for alias in node.names:
                    target = decocc_vo._PUBLIC.get(alias.name, alias.name)
                    yield f"decocc_vo.{target}"
            else:
                yield ".".join(base)


def test_every_module_has_a_room():
    assert MODULES
    assert {room(path) for path in MODULES} - {"__init__"} <= set(LAW)


def test_the_law_itself_points_up():
    """No room can reach itself through others."""

    def reach(name, seen=()):
        return {other for n in LAW[name] - set(seen) for other in {n, *reach(n, (*seen, name))}}

    assert [name for name in LAW if name != "cli" and name in reach(name)] == []
    assert all("cli" not in others for name, others in LAW.items() if name != "cli")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_up(path):
    names = [name.split(".")[1] for name in imported(path) if name.startswith("decocc_vo.")]
    allowed = {room(path), "exceptions", "_quietly", "_checks", "__version__", *LAW.get(room(path), ())}
    assert set(names) <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_deep_part_knows_jax(path):
    third = {name.split(".")[0] for name in imported(path)}
    assert room(path) == "embedding" or not third & {"jax", "jaxlib", "flax", "optax"}
    assert "pandas" not in third
    assert "astropy.samp" not in set(imported(path))


def test_imports_are_seen_wherever_they_stand(tmp_path, monkeypatch):
    """The reader of imports itself: relative, absolute, lazy and by way of the package's public names."""
    monkeypatch.setattr("test_imports.PACKAGE", tmp_path)
    path = tmp_path / "stars" / "x.py"
    path.parent.mkdir()
    path.write_text(
        "from ..region import ClusterRegion\nfrom . import files\nimport jax.numpy as jnp\n"
        "def f():\n    from .. import DECOCC, config\n    import decocc_vo.cli\n"
    )
    assert sorted(imported(path)) == [
        "decocc_vo.cli",
        "decocc_vo.config",
        "decocc_vo.decocc",
        "decocc_vo.region",
        "decocc_vo.stars",
        "jax.numpy",
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_releases_are_written_in_columns_only(path):
    if room(path) == "columns":
        return
    tree = parse(path)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            text = str(node.value).lower().replace("gaiadr3-zeropoint", "").replace("gaiadr3_zeropoint", "")
            assert "gaiadr3" not in text, f"line {node.lineno}"
            assert "2016.0" not in text, f"line {node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_library_does_not_print(path):
    calls = [node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]
    printing = [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
    assert room(path) in ("cli", "pretrain") or printing == []  # the two that are commands


def loaded(statement):
    """Top-level modules a fresh Python has after a statement."""
    program = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in answer.stdout.split()}


def test_importing_the_package_loads_nothing_heavy():
    modules = loaded("import decocc_vo")
    assert "decocc_vo" in modules
    assert modules.isdisjoint({*HEAVY, "astropy", "numpy"})


def test_the_registry_loads_no_reader_of_tables():
    """It is what every room imports first."""
    assert loaded("import decocc_vo.columns").isdisjoint({*HEAVY, "yaml"})


def test_looking_up_a_region_loads_nothing_heavy():
    statement = "from decocc_vo import COLUMNS, ClusterRegion, InputError, conf, query_region, read_stars"
    assert loaded(statement).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", decocc_vo.__all__)
def test_public_name(name):
    assert name in dir(decocc_vo)
    value = getattr(decocc_vo, name)
    assert value is getattr(decocc_vo, name)
    assert value.__doc__ or not callable(value)


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'decocc_vo' has no attribute 'decoc'"):
        _ = decocc_vo.decoc
    stars = importlib.import_module("decocc_vo.stars")
    with pytest.raises(AttributeError, match=r"module 'decocc_vo\.stars' has no attribute 'nothing'"):
        _ = stars.nothing
    assert stars.read_stars is decocc_vo.read_stars


def test_the_tests_themselves_use_no_network():
    with pytest.raises(Exception, match="tests use no network"), socket.socket() as plug:
        plug.connect(("192.0.2.1", 80))  # an address for documentation, nobody's
    with pytest.raises(Exception, match="tests use no network"):
        socket.getaddrinfo("example.org", 443)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as plug:
        assert plug.getpeername() == server.getsockname()
