"""Finds what the local stack needs from the machine, and says what is missing and how to get it.

Standard library only and happy with Python 3.8: it runs before there is an environment, as
`python3 tests/stack/prerequisites.py check|chromium|npm|python3.11|python3.13`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

REPO = Path(__file__).resolve().parents[2]

SDK_HOW = (
    "see https://cloud.google.com/sdk/docs/install, or set CLOUDSDK_ROOT to its folder; then its "
    "two emulators:"
    " gcloud components install pubsub-emulator bigtable-emulator, or"
    " apt-get install google-cloud-cli-pubsub-emulator google-cloud-cli-bigtable-emulator"
)
JAVA_HOW = (
    "the Pub/Sub emulator needs it: apt-get install default-jre-headless, or brew install openjdk"
)
CHROMIUM_HOW = (
    "the browser tests need it: apt-get install chromium (and chromium-headless-shell, with which "
    "they are quicker), or set CHROMIUM to the program's path"
)
BIGQUERY_HOW = "run `make setup`, which makes .venv-bigquery on Python 3.13"
SDK_PLACES = (
    "/usr/lib/google-cloud-sdk",
    "/usr/share/google-cloud-sdk",
    "/opt/google-cloud-sdk",
    "~/google-cloud-sdk",
)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_SHELL = "chromium-headless-shell"

if TYPE_CHECKING:
    Finder = Callable[[Mapping[str, str]], Path]


class Missing(RuntimeError):
    """Something the machine must have is not there; the message names it and says how to get it."""

    def __init__(self, name: str, how: str) -> None:
        super().__init__(f"{name} is missing: {how}")
        self.name = name


def sdk_root(environ: Mapping[str, str]) -> Path:
    """The Google Cloud SDK's folder: `CLOUDSDK_ROOT`, where `gcloud` lives, or a usual place."""
    gcloud = shutil.which("gcloud", path=environ.get("PATH", ""))
    near = [Path(gcloud).resolve().parents[1]] if gcloud else []
    usual = [Path(place).expanduser() for place in SDK_PLACES]
    given = environ.get("CLOUDSDK_ROOT")
    for place in [Path(given)] if given else [*near, *usual]:
        if (place / "platform").is_dir():
            return place
    where = f"no folder `platform` in CLOUDSDK_ROOT={given}; " if given else ""
    raise Missing("the Google Cloud SDK", where + SDK_HOW)


def _emulator(environ: Mapping[str, str], component: str, program: str) -> Path:
    path = sdk_root(environ) / "platform" / component / program
    if path.is_file():
        return path
    how = f"gcloud components install {component}, or apt-get install google-cloud-cli-{component}"
    raise Missing(f"the Google Cloud SDK's {component}", f"{how} (looked for {path})")


def pubsub_emulator(environ: Mapping[str, str]) -> Path:
    """The Pub/Sub emulator's start script."""
    return _emulator(environ, "pubsub-emulator", "bin/cloud-pubsub-emulator")


def bigtable_emulator(environ: Mapping[str, str]) -> Path:
    """The Bigtable emulator's program."""
    return _emulator(environ, "bigtable-emulator", "cbtemulator")


def java(environ: Mapping[str, str]) -> Path:
    """The Java program that the Pub/Sub emulator will use: `JAVA_HOME`'s, else the one on the
    path."""
    home = environ.get("JAVA_HOME")
    found = (
        str(Path(home) / "bin" / "java")
        if home
        else shutil.which("java", path=environ.get("PATH", ""))
    )
    if found and os.access(found, os.X_OK):
        return Path(found)
    raise Missing("Java", f"no program at JAVA_HOME={home}; {JAVA_HOW}" if home else JAVA_HOW)


def local_bigquery(environ: Mapping[str, str]) -> Path:
    """The local BigQuery's program, in its own environment."""
    path = Path(environ.get("LOCAL_BIGQUERY") or REPO / ".venv-bigquery" / "bin" / "local-bigquery")
    if path.is_file():
        return path
    raise Missing("local-bigquery", f"{BIGQUERY_HOW} (looked for {path})")


def chromium(environ: Mapping[str, str]) -> Path:
    """A whole Chromium or Chrome: `CHROMIUM`, else one on the path."""
    given = environ.get("CHROMIUM")
    for name in [given] if given else CHROMIUM_NAMES:
        found = shutil.which(name, path=environ.get("PATH", ""))
        if found:
            return Path(found)
    raise Missing(
        "Chromium", f"no program at CHROMIUM={given}; {CHROMIUM_HOW}" if given else CHROMIUM_HOW
    )


def headless_chromium(environ: Mapping[str, str]) -> Path:
    """`CHROMIUM`, else Chromium's headless shell, else a whole browser.

    The shell has no window, so that a page costs it a third of the processor time, and no cache of
    pages to go back to.
    """
    shell = shutil.which(CHROMIUM_SHELL, path=environ.get("PATH", ""))
    if shell and not environ.get("CHROMIUM"):
        return Path(shell)
    return chromium(environ)


def terraform(environ: Mapping[str, str]) -> Path:
    """The terraform program, for the check of `terraform/`."""
    found = shutil.which("terraform", path=environ.get("PATH", ""))
    if found:
        return Path(found)
    raise Missing("terraform", "see https://developer.hashicorp.com/terraform/install")


def npm(environ: Mapping[str, str]) -> Path:
    """The npm program of Node 18 or newer, which fetches the vendors' browser SDKs for the
    tests."""
    found = shutil.which("npm", path=environ.get("PATH", ""))
    if found:
        return Path(found)
    raise Missing(
        "npm", "the browser tests need it: apt-get install nodejs npm, or see https://nodejs.org"
    )


def python(version: str, environ: Mapping[str, str]) -> Path:
    """A Python of exactly this minor `version` ("3.13"), from the path or from pyenv's versions."""
    pyenv = Path(
        environ.get("PYENV_ROOT") or Path(environ.get("HOME", "~")).expanduser() / ".pyenv"
    )
    on_path = shutil.which("python" + version, path=environ.get("PATH", ""))
    found = sorted(glob(str(pyenv / "versions" / (version + ".*") / "bin" / ("python" + version))))
    for candidate in ([on_path] if on_path else []) + found[::-1]:
        if _answers(candidate, version):
            return Path(candidate)
    apt = f"apt-get install python{version} python{version}-venv"
    raise Missing(
        f"Python {version}", f"{apt}, pyenv install {version}, or uv python install {version}"
    )


def _answers(program: str, version: str) -> bool:
    """A pyenv shim is on the path for versions that are not switched on: ask it."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == version


NEEDED: dict[str, tuple[Finder, ...]] = {
    "pubsub": (java, pubsub_emulator),
    "bigtable": (bigtable_emulator,),
    "bigquery": (local_bigquery,),
}


def missing(parts: Iterable[str], environ: Mapping[str, str]) -> list[Missing]:
    """All that these parts of the stack need and the machine lacks, so that one message can say all
    of it.
    """
    return _missing([finder for part in parts for finder in NEEDED.get(part, ())], environ)


def _missing(finders: Iterable[Finder], environ: Mapping[str, str]) -> list[Missing]:
    found: dict[str, Missing] = {}
    for finder in finders:
        try:
            finder(environ)
        except Missing as error:
            found[str(error)] = error
    return list(found.values())


def install_chromium() -> None:
    """Installs Debian's Chromium, and its headless shell, where that needs no question; elsewhere
    the message says how.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print("setup: installing Debian's Chromium for the browser tests", flush=True)
    _apt_get("update")
    for package in ("chromium", CHROMIUM_SHELL):
        _apt_get("install", "-y", package)


def _apt_get(*arguments: str) -> None:
    subprocess.run(
        ["apt-get", "-qq", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def _check() -> int:
    """All that must be there before `make setup` can make the rest; then also what only the tests
    lack.
    """
    pythons = [partial(python, version) for version in ("3.11", "3.13")]
    problems = _missing([java, pubsub_emulator, bigtable_emulator, *pythons], os.environ)
    if not problems:
        return 0
    for problem in [*problems, *_missing([npm, chromium], os.environ)]:
        print(f"setup: {problem}", file=sys.stderr)
    return 1


def _chromium() -> int:
    shell = os.environ.get("CHROMIUM") or shutil.which(CHROMIUM_SHELL)
    if not shell or _missing([chromium], os.environ):
        install_chromium()
    try:
        chromium(os.environ)
    except Missing as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


def main(arguments: Sequence[str]) -> int:
    """Runs one of the module's five commands; prints a path, or what is missing."""
    command = arguments[0] if len(arguments) == 1 else ""
    if command == "check":
        return _check()
    if command == "chromium":
        return _chromium()
    if command not in ("npm", "python3.11", "python3.13"):
        print(
            f"expected check, chromium, npm, python3.11 or python3.13, got {list(arguments)}",
            file=sys.stderr,
        )
        return 2
    try:
        print(npm(os.environ) if command == "npm" else python(command[len("python") :], os.environ))
    except Missing as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
