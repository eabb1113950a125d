"""What JAX compiled and keeps: found again wherever the folder is, and made anew where it was damaged."""

import subprocess
import sys

import pytest

FIT = """
import sys, jax
from decocc_vo.embedding.compiled import keep_compiled
keep_compiled(sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
print(jax.jit(lambda x: (x @ x.T).sum())(jax.numpy.ones((7, 3))))
"""


def entries(folder, name):
    """The entries of a folder after another process has used it, which had nothing to say of it."""
    done = subprocess.run(
        [sys.executable, "-c", FIT, name], capture_output=True, text=True, timeout=120, check=True, cwd=folder
    )
    assert float(done.stdout) == 147
    assert "Error" not in done.stderr, done.stderr
    return {path.name: path.read_bytes() for path in (folder / name).glob("*-cache")}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    return folder, entries(folder, "cache")


def test_a_folder_serves_under_all_its_names(kept):
    folder, first = kept
    assert first
    assert entries(folder, str(folder / "cache")) == first
    (folder / "cache").rename(folder / "moved")
    assert entries(folder, "moved") == first
    (folder / "moved").rename(folder / "cache")


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_what_a_full_disk_left_is_made_anew(kept, part):
    folder, first = kept
    for name, content in first.items():
        (folder / "cache" / name).write_bytes(content[: int(part * len(content))])
    again = entries(folder, "cache")
    assert again.keys() == first.keys()
    assert all(len(again[name]) > 0.9 * len(first[name]) for name in first)
    assert entries(folder, "cache") == again
