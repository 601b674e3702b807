"""Packs the collector for Cloud Functions: `python -m functions.package build/collector.zip`.

The zip holds the collector with the pure core beside it, `main.py` where Cloud Functions looks for it, and exactly
the pinned packages that the local collector runs on. The same sources give the same bytes.
"""

from __future__ import annotations

import sys
import zipfile
from distutils.core import run_setup
from pathlib import Path

import setuptools  # type: ignore[import-untyped]  # noqa: F401 - run_setup understands setup.py once it is imported

REPO = Path(__file__).resolve().parents[1]
SOURCES = (
    "functions/*.py",
    "functions/protocols/*.py",
    "functions/protocols/*/*.py",
    "functions/schemas/*.py",
    "functions/schemas/*/*.json",
    "pipeline/__init__.py",
    "pipeline/core/*.py",
    "pipeline/runtime/*.py",
)
LEFT_OUT = ("functions/package.py",)
MAIN = '"""Where Cloud Functions looks for the entry point."""\n\nfrom functions.main import collect as collect\n'
MODE = 0o644 << 16
EPOCH = (1980, 1, 1, 0, 0, 0)


def contents() -> dict[str, str]:
    """Path in the zip -> text of the file."""
    found = sorted({path for pattern in SOURCES for path in REPO.glob(pattern)})
    names = {path.relative_to(REPO).as_posix(): path for path in found}
    sources = {name: path.read_text(encoding="utf-8") for name, path in names.items() if name not in LEFT_OUT}
    constraints = (REPO / "constraints.txt").read_text(encoding="utf-8")
    return {**sources, "main.py": MAIN, "requirements.txt": requirements(), "constraints.txt": constraints}


def requirements() -> str:
    """What setup.py asks for the collector, with everything below it held to constraints.txt."""
    setup = run_setup(str(REPO / "setup.py"), stop_after="init")
    asked = [*setup.install_requires, *setup.extras_require["collector"]]  # type: ignore[attr-defined]
    return "\n".join(["--constraint constraints.txt", *asked]) + "\n"


def write(target: Path) -> list[str]:
    """Write the zip, in place of an older one; the names that it holds."""
    files = contents()
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr, entry.compress_type = MODE, zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return sorted(files)


def main(arguments: list[str]) -> int:
    """Write the zip that the one argument names."""
    if len(arguments) != 1 or not arguments[0].endswith(".zip"):
        sys.stderr.write(f"expected one argument, the zip to write, got {arguments}\n")
        return 2
    names = write(Path(arguments[0]))
    sys.stdout.write(f"wrote {arguments[0]}: {len(names)} files\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
