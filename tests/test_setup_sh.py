"""setup.sh for real, in bash, in a checkout and with a PATH of the test's own. The installers are scripts, except where
a test says otherwise: they make an environment whose `lab` tells how it was called."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_helpers.core.settings import CHECKOUT
from lab_helpers.core.waiting import wait_for
from tests.fakes.surroundings import Bin

NO_INDEX = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "2"}
"""For the real pip: nobody listens there."""

TOOLS = (
    *("bash", "awk", "cksum", "cp", "cut", "date", "df", "head", "ls", "mkdir", "mv", "rm", "tail", "tr"),
    *("ln", "chmod"),
)
# An environment is a folder with a Python that runs and a `lab`; making it here takes no second.
FAKE_ENVIRONMENT = f"""
make() {{ mkdir -p "$1/bin"; ln -sf '{sys.executable}' "$1/bin/python"; }}
add_lab() {{
    printf '%s\\n' '#!/bin/sh' 'echo "lab $*" >> "{{log}}"' '[ ! -e "{{log}}.fail" ]' > "$1/bin/lab"
    chmod +x "$1/bin/lab"
}}
"""
FAKE_UV = """
echo "uv $*" >> "$LOG"
case "$1 $2" in
    "--version "*) echo "uv 0.1" ;;
    venv*) for last; do :; done; make "$last" ;;
    "pip install") case $* in
        *--editable*) venv=${4%/bin/python}; add_lab "$venv" ;;
        *) [ ! -e "$LOG.kill" ] || kill -9 $$
           [ ! -e "$LOG.down" ] || { echo "error: tcp connect error: no route" >&2; exit 2; } ;;
        esac ;;
esac
"""


class Checkout:
    """A checkout with what setup.sh reads, and the surroundings in which it runs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a course"
        self.bin = Bin(folder / "bin", *TOOLS)
        self.environment = {"PATH": str(self.bin.folder), "HOME": str(folder / "home")}
        (folder / "home").mkdir()
        self.root.mkdir()
        for name in ("setup.sh", "pyproject.toml", "requirements.lock", "environment.yml"):
            shutil.copy2(CHECKOUT / name, self.root / name)

    def fake_installer(self, name: str, script: str) -> None:
        functions = FAKE_ENVIRONMENT.replace("{log}", str(self.bin.log))
        self.bin.fake(name, functions + script)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "setup.sh", *arguments],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
        )

    def labs(self) -> list[str]:
        """How `lab` was called."""
        return [call for call in self.bin.calls() if call.startswith("lab ")]

    def installs(self) -> int:
        return sum("--require-hashes" in call for call in self.bin.calls())


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A machine with a Python that serves, and uv."""
    made = Checkout(tmp_path)
    made.bin.fake("python3", f"exec '{sys.executable}' \"$@\"")
    made.fake_installer("uv", FAKE_UV)
    return made


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help(checkout: Checkout, word: str) -> None:
    done = checkout.run(word)
    assert done.returncode == 0
    assert "./setup.sh [--yes] test [--full]" in done.stdout
    assert not (checkout.root / ".lab").exists()


@pytest.mark.parametrize("words", [("--nope",), ("tset",), ("--full",), ("--yes", "--full"), ("",)])
def test_what_it_does_not_know_is_said_and_changes_nothing(checkout: Checkout, words: tuple[str, ...]) -> None:
    done = checkout.run(*words)
    assert done.returncode == 2
    assert "Usage" in done.stderr
    assert not (checkout.root / ".lab").exists()


@pytest.mark.parametrize(
    ("words", "environment", "calls"),
    [
        ((), {}, ["lab setup"]),
        (("--yes",), {}, ["lab setup --yes"]),
        ((), {"CI": "true"}, ["lab setup --yes"]),
        (("test",), {}, ["lab setup --yes --for-tests", "lab test"]),
        (("--yes", "test", "--full"), {}, ["lab setup --yes --for-tests", "lab test --full"]),
    ],
)
def test_it_hands_over_to_lab(
    checkout: Checkout, words: tuple[str, ...], environment: dict[str, str], calls: list[str]
) -> None:
    done = checkout.run(*words, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [call.rstrip() for call in checkout.labs()] == calls


def test_the_exit_code_is_that_of_lab_and_tests_need_a_setup(checkout: Checkout) -> None:
    checkout.run()
    Path(f"{checkout.bin.log}.fail").touch()
    assert checkout.run("test").returncode == 1
    assert not any(call.startswith("lab test") for call in checkout.labs())


def test_a_second_run_installs_nothing(checkout: Checkout) -> None:
    checkout.run()
    before = [call for call in checkout.bin.calls() if call.startswith("uv")]
    assert checkout.run().returncode == 0
    assert [call for call in checkout.bin.calls() if call.startswith("uv")] == before
    assert len(checkout.labs()) == 2


def test_a_newer_lock_updates_the_environment_in_place(checkout: Checkout) -> None:
    checkout.run()
    kept = checkout.root / ".venv" / "kept"
    kept.touch()
    with (checkout.root / "requirements.lock").open("a") as lock:
        lock.write("# newer\n")
    assert checkout.run().returncode == 0
    assert checkout.installs() == 2
    assert kept.exists()


def test_a_killed_installation_is_done_again_from_a_clean_folder(checkout: Checkout) -> None:
    kill = Path(f"{checkout.bin.log}.kill")
    kill.touch()
    done = checkout.run(**NO_INDEX)
    assert done.returncode == 3
    assert "uv was killed (signal 9)" in done.stdout
    assert checkout.labs() == []
    half = checkout.root / ".venv" / "half"
    half.parent.mkdir(exist_ok=True)
    half.touch()
    kill.unlink()
    assert checkout.run().returncode == 0
    assert not half.exists()
    assert len(checkout.labs()) == 1


def test_ctrl_c_stops_at_once_and_the_next_run_goes_on(checkout: Checkout) -> None:
    working = checkout.bin.folder.parent / "working"
    checkout.fake_installer("uv", f'case "$2" in install) touch {working}; sleep 30 ;; esac\n' + FAKE_UV)
    with subprocess.Popen(
        [checkout.root / "setup.sh"],
        env=checkout.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_for(working.exists, "the installer to work", timeout_s=20)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Run ./setup.sh again" in said
    assert not (checkout.root / ".lab" / "setup.lock").exists()
    checkout.fake_installer("uv", FAKE_UV)
    assert checkout.run().returncode == 0
    assert checkout.labs() != []


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_checkout_that_moved_gets_a_new_environment(checkout: Checkout, how: str) -> None:
    checkout.run()
    old = checkout.root
    checkout.root = old.parent / "elsewhere"
    if how == "moved":
        old.rename(checkout.root)
    else:
        shutil.copytree(old, checkout.root, symlinks=True)
    assert checkout.run().returncode == 0
    assert checkout.installs() == 2
    assert str(checkout.root) in (checkout.root / ".venv" / "lab-stamp").read_text()


def test_offline_with_an_environment_works_even_with_an_older_one(checkout: Checkout) -> None:
    checkout.run()
    assert checkout.run(LAB_OFFLINE="1").returncode == 0
    with (checkout.root / "requirements.lock").open("a") as lock:
        lock.write("# newer\n")
    done = checkout.run(LAB_OFFLINE="1")
    assert done.returncode == 0
    assert "older version" in done.stdout
    assert checkout.installs() == 1


def test_offline_without_an_environment_says_so(checkout: Checkout) -> None:
    done = checkout.run(LAB_OFFLINE="1")
    assert done.returncode == 3
    assert "LAB_OFFLINE" in done.stderr
    assert checkout.bin.calls() == []


def test_no_python_that_serves(checkout: Checkout) -> None:
    for name in ("python3", "uv"):
        (checkout.bin.folder / name).unlink()
    checkout.bin.fake("python3", "case $* in *ssl*) exit 1 ;; esac; echo 3.9.2")
    done = checkout.run()
    assert done.returncode == 3
    assert "Python 3.11 to 3.14" in done.stderr
    assert "python3 3.9.2" in done.stderr
    assert "Install" in done.stderr


def test_the_newest_python_that_runs_is_taken(checkout: Checkout) -> None:
    checkout.bin.fake("python3.14", "echo 'pyenv: command not found' >&2; exit 127")
    checkout.bin.fake("python3.13", f"exec '{sys.executable}' \"$@\"")
    checkout.bin.fake("python3.12", f"exec '{sys.executable}' \"$@\"")
    assert checkout.run().returncode == 0
    made = next(call for call in checkout.bin.calls() if call.startswith("uv venv"))
    assert f"--python {checkout.bin.folder}/python3.13 " in made


def test_without_a_python_uv_gets_one(checkout: Checkout) -> None:
    (checkout.bin.folder / "python3").unlink()
    assert checkout.run().returncode == 0
    assert any("--python >=3.11,<3.15 " in call for call in checkout.bin.calls())


def without_venv_module(checkout: Checkout) -> None:
    """A Debian whose Python came without python3-venv; it can be installed."""
    (checkout.bin.folder / "uv").unlink()
    flag = checkout.bin.folder.parent / "venv-module"
    checkout.bin.fake(
        "python3",
        f"case $* in *ensurepip*) [ -e {flag} ] || exit 1 ;; '-m venv'*) echo 'no more here' >&2; exit 1 ;; esac\n"
        f"exec '{sys.executable}' \"$@\"",
    )
    checkout.bin.fake("apt-get", f'echo "apt-get $*" >> "$LOG"; touch {flag}')
    checkout.bin.fake("sudo", 'exec "$@"')


def test_debians_missing_venv_package_is_named(checkout: Checkout) -> None:
    without_venv_module(checkout)
    done = checkout.run()
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert done.returncode == 3
    assert f"sudo apt-get install {package}" in done.stderr
    assert not any(call.startswith("apt-get") for call in checkout.bin.calls())


def test_debians_missing_venv_package_is_installed_when_that_was_agreed(checkout: Checkout) -> None:
    without_venv_module(checkout)
    done = checkout.run("--yes")
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert any(f"install -y --no-install-recommends {package}" in call for call in checkout.bin.calls())
    assert package in (checkout.root / ".lab" / "installed.jsonl").read_text()
    assert "cannot make environments" not in done.stderr
    assert "no more here" in done.stderr  # it went on to make the environment


def test_no_network_is_one_clear_message(checkout: Checkout) -> None:
    """With the real pip: uv fails, pip is tried, and what it said last is shown."""
    Path(f"{checkout.bin.log}.down").touch()
    done = checkout.run(**NO_INDEX)
    assert done.returncode == 3
    assert "uv could not make it" in done.stdout
    assert "could not be installed" in done.stderr
    assert "https_proxy" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    log = (checkout.root / ".lab" / "setup.log").read_text()
    assert "tcp connect error" in log
    assert "127.0.0.1" in log
    assert not (checkout.root / ".venv" / "lab-stamp").exists()
    assert not (checkout.root / ".lab" / "setup.lock").exists()


def test_a_full_disk(checkout: Checkout) -> None:
    checkout.bin.fake(
        "df", "echo Filesystem 1024-blocks Used Available Capacity Mounted on; echo '/dev/a b 9 9 204800 99% /'"
    )
    done = checkout.run()
    assert done.returncode == 3
    assert "200 MiB are free" in done.stderr
    assert checkout.bin.calls() == []


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A checkout that nobody but its owner, who is somebody else, may write to."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copy2(CHECKOUT / "setup.sh", root)
        for path, mode in ((root, 0o555), (root / "setup.sh", 0o555)):
            path.chmod(mode)
        yield root
        root.chmod(0o755)


def test_a_checkout_that_cannot_be_written_to(read_only: Path) -> None:
    nobody = {"user": 65534, "group": 65534, "extra_groups": ()} if os.geteuid() == 0 else {}
    done = subprocess.run(
        ["bash", read_only / "setup.sh"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        **nobody,  # type: ignore[call-overload]
    )
    assert done.returncode == 3
    assert "cannot be written to" in done.stderr
    assert str(read_only) in done.stderr


def test_a_colon_in_the_path(checkout: Checkout) -> None:
    old = checkout.root
    checkout.root = old.with_name("a:b")
    old.rename(checkout.root)
    done = checkout.run()
    assert done.returncode == 3
    assert "colon" in done.stderr


def test_one_setup_at_a_time_and_a_dead_one_does_not_count(checkout: Checkout) -> None:
    lock = checkout.root / ".lab" / "setup.lock"
    lock.mkdir(parents=True)
    (lock / "pid").write_text(str(os.getpid()))
    done = checkout.run()
    assert done.returncode == 3
    assert f"process {os.getpid()}" in done.stderr
    assert lock.exists()
    with subprocess.Popen(["true"]) as gone:
        pass
    (lock / "pid").write_text(str(gone.pid))
    assert checkout.run().returncode == 0
    assert not lock.exists()


@pytest.mark.parametrize(
    ("given", "uv_sees"),
    [
        ({"REQUESTS_CA_BUNDLE": "/my/ca.pem"}, "SSL_CERT_FILE=/my/ca.pem"),
        ({"SSL_CERT_FILE": "/my/ca.pem"}, "PIP_CERT=/my/ca.pem"),
        ({"PIP_INDEX_URL": "http://index.invalid/simple"}, "UV_DEFAULT_INDEX=http://index.invalid/simple"),
        ({"https_proxy": "http://proxy.invalid"}, "https_proxy=http://proxy.invalid"),
        ({"PIP_USER": "1"}, "PIP_USER=0"),
    ],
)
def test_settings_reach_the_installer(checkout: Checkout, given: dict[str, str], uv_sees: str) -> None:
    checkout.fake_installer("uv", 'env >> "$LOG"\n' + FAKE_UV)
    assert checkout.run(**given).returncode == 0
    assert uv_sees in checkout.bin.calls()


FAKE_CONDA = """
echo "conda $*" >> "$LOG"
case "$1 $2" in
    run*) [ -x "$PREFIX/bin/python" ] || exit 1; echo "$PREFIX" ;;
    "env create") [ ! -e "$LOG.nosolve" ] || { echo "PackagesNotFoundError: python" >&2; exit 1; }
        mkdir -p "$PREFIX/bin"
        printf '%s\\n' '#!/bin/sh' "LOG='$LOG'" 'here=${0%/bin/python}' "$(cat "$FUNCTIONS")" \\
            'case $* in *--editable*) add_lab "$here" ;; *pip*) ;;' "*) exec '$REAL' \\"\\$@\\" ;; esac" \\
            > "$PREFIX/bin/python"
        chmod +x "$PREFIX/bin/python" ;;
esac
"""


@pytest.fixture
def conda(checkout: Checkout, tmp_path: Path) -> Path:
    """A conda that can make one environment; returns where."""
    prefix, functions = tmp_path / "conda envs" / "vm-to-kubernetes", tmp_path / "functions"
    functions.write_text(FAKE_ENVIRONMENT.replace("{log}", str(checkout.bin.log)))
    checkout.bin.fake("conda", f"PREFIX='{prefix}' FUNCTIONS='{functions}' REAL='{sys.executable}'\n{FAKE_CONDA}")
    return prefix


def test_conda_comes_first_where_it_works(checkout: Checkout, conda: Path) -> None:
    done = checkout.run()
    assert done.returncode == 0, done.stderr + (checkout.root / ".lab/setup.log").read_text()
    assert (conda / "lab-stamp").exists()
    assert not (checkout.root / ".venv").exists()
    assert not any(call.startswith("uv") for call in checkout.bin.calls())
    before = checkout.bin.calls()
    assert checkout.run().returncode == 0
    assert checkout.bin.calls() == [*before, "lab setup"] or checkout.bin.calls() == [*before, "lab setup "]


def test_conda_that_cannot_is_left_out_and_says_why(checkout: Checkout, conda: Path) -> None:
    Path(f"{checkout.bin.log}.nosolve").touch()
    done = checkout.run()
    assert done.returncode == 0
    assert "PackagesNotFoundError" in done.stdout
    assert (checkout.root / ".venv" / "lab-stamp").exists()


def test_conda_of_another_checkout_is_left_alone(checkout: Checkout, conda: Path, tmp_path: Path) -> None:
    checkout.run()
    stamp = (conda / "lab-stamp").read_text()
    second = Checkout.__new__(Checkout)
    second.root, second.bin, second.environment = tmp_path / "second", checkout.bin, checkout.environment
    shutil.copytree(checkout.root, second.root, ignore=shutil.ignore_patterns(".lab"))
    done = second.run()
    assert done.returncode == 0
    assert "belongs to the checkout" in done.stdout
    assert (second.root / ".venv" / "lab-stamp").exists()
    assert (conda / "lab-stamp").read_text() == stamp
