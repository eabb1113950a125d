"""The real programs, without a screen: X server, TOPCAT, Aladin, the JSAMP hub, Chromium. All end with their block."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .fakes import until

HERE = Path(__file__).parent
JARS = Path("/usr/share/java")


def need(*programs):
    """Skip the test where a program is absent; ``.ci/desktop.sh`` installs them all."""
    absent = [p for p in programs if not (shutil.which(p) or (JARS / f"{p}.jar").is_file())]
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed; see .ci/desktop.sh")


def npm_package(name):
    """Folder of a package that npm has for the whole machine; the test is skipped where there is none."""
    need("npm")
    told = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, timeout=60, check=True)
    folder = Path(told.stdout.strip()) / name
    if not folder.is_dir():
        pytest.skip(f"npm's {name} is not installed; see .ci/desktop.sh")
    return folder


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command, log, **kwargs):
    """
    A program in a process group of its own, since some are shell wrappers; its output goes to a file.

    A watchdog ends the group even when this process is killed: its standard input then comes to an end.
    """
    with Path(log).open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, **kwargs
        )
        watchdog = subprocess.Popen(
            ["sh", "-c", 'read _; kill -9 "-$0" 2>&-', str(process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                try:
                    process.wait(10)
                    break
                except subprocess.TimeoutExpired:
                    continue
            watchdog.stdin.close()
            watchdog.wait(10)


@contextmanager
def screen(folder, size="1400x900x24"):
    """An X server on a display that it chooses itself; gives the environment for programs on it."""
    need("Xvfb")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp"]
    with running(command, folder / "xvfb.log", pass_fds=[write]):
        os.close(write)
        with os.fdopen(read) as number:
            display = number.readline().strip()
        assert display, (folder / "xvfb.log").read_text()
        yield {**os.environ, "DISPLAY": f":{display}", "LC_ALL": "C.UTF-8"}


def agent(folder):
    """Build the agent with the JDK that is there."""
    need("javac", "jar")
    jar = folder / "agent.jar"
    if not jar.is_file():
        subprocess.run(["javac", "-d", folder, HERE / "DesktopAgent.java"], check=True, timeout=120)
        (folder / "manifest").write_text("Premain-Class: DesktopAgent\n")
        classes = [path.name for path in folder.glob("DesktopAgent*.class")]
        subprocess.run(["jar", "cfm", "agent.jar", "manifest", *classes], check=True, timeout=60, cwd=folder)
    return jar


class Remote:
    """The hand on a Swing program's windows; see ``DesktopAgent.java`` for the commands."""

    def __init__(self, port, timeout=60):
        self.socket = until(lambda: self._connect(port), timeout)
        self.socket.settimeout(40)
        self.file = self.socket.makefile("r", encoding="utf-8")

    @staticmethod
    def _connect(port):
        with suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), 2)

    def close(self):
        self.file.close()
        self.socket.close()

    def ask(self, *words):
        """Whether the command could be carried out, and what it gave."""
        self.socket.sendall(("\t".join(map(str, words)) + "\n").encode())
        status, _, text = self.file.readline().rstrip("\n").partition("\t")
        return status == "ok", text.replace("\\n", "\n").replace("\\\\", "\\")

    def __call__(self, *words, timeout=20):
        """Carry a command out, as soon as it can be, and give what it gave."""
        end = time.monotonic() + timeout
        while True:
            done, text = self.ask(*words)
            if done:
                return text
            assert time.monotonic() < end, f"{words}: {text}"
            time.sleep(0.1)


@contextmanager
def topcat(folder, environment, *tables):
    """TOPCAT with some files loaded; it finds the hub by SAMP_HUB."""
    need("topcat")
    port = free_port()
    command = [
        "topcat",
        "-nohub",
        f"-J-Duser.home={folder}",
        f"-J-javaagent:{agent(folder)}={port}",
        *map(str, tables),
    ]
    with running(command, folder / "topcat.log", env=environment):
        remote = Remote(port)
        try:
            yield remote
        finally:
            remote.close()


@contextmanager
def aladin(folder, environment):
    """Aladin, which looks for the hub only in ``folder/.samp``."""
    need("java", "aladin")
    port = free_port()
    command = [
        "java",
        f"-Duser.home={folder}",
        f"-javaagent:{agent(folder)}={port}",
        "-jar",
        str(JARS / "aladin.jar"),
        *("-local", "-noreleasetest", "-nolog", "-noplugin", "-nobeta", "-theme=classic"),
    ]
    with running(command, folder / "aladin.log", env=environment):
        remote = Remote(port)
        try:
            yield remote
        finally:
            remote.close()


@contextmanager
def jsamp_hub(folder, environment, *, web=False):
    """The hub of JSAMP, in place of ours; with ``web`` it lets every page in."""
    need("java", "jsamp")
    command = ["java", f"-Duser.home={folder}", "-jar", str(JARS / "jsamp.jar"), "hub", "-mode", "no-gui"]
    command += ["-profiles", "std,web", "-web:auth", "true"] if web else ["-profiles", "std"]
    with running(command, folder / "jsamp.log", env=environment) as process:
        yield process


def votlint(path, folder):
    """
    What STILTS has to say against a VOTable: nothing when it is valid.

    A STILTS older than VOTable 1.5 is shown the file as 1.4, without the one attribute that is new in it.
    """
    need("stilts")
    text = Path(path).read_text(encoding="utf-8")
    older = folder / "as-1.4.vot"
    text = text.replace('version="1.5"', 'version="1.4"').replace("VOTable-1.5.xsd", "VOTable-1.4.xsd")
    older.write_text(text.replace(' refposition="BARYCENTER"', ""), encoding="utf-8")
    for file in (path, older):
        done = subprocess.run(["stilts", "votlint", str(file)], capture_output=True, text=True, timeout=60)
        words = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("INFO:")]
        if not any("Unknown VOTable version: 1.5" in line for line in words):
            break
    return words
