"""Packs the collector for Cloud Functions: `python -m functions.package build/collector.zip`.

The zip holds the collector and exactly the modules that it imports, `main.py` where Cloud Functions
looks for it, and the pinned packages that the local collector runs on. The same sources give the
same bytes.
"""

from __future__ import annotations

import ast
import sys
import zipfile
from collections.abc import Iterator
from distutils.core import run_setup
from pathlib import Path
from typing import Any

# run_setup understands setup.py once setuptools is imported.
import setuptools  # type: ignore[import-untyped]  # noqa: F401

REPO = Path(__file__).resolve().parents[1]
ENTRY_POINT = "functions.main"
DATA = ("functions/contract/schemas/*/*.json",)
MAIN = (
    '"""Where Cloud Functions looks for the entry point."""\n\nfrom functions.main import '
    "collect as collect\n"
)
MODE = 0o644 << 16
EPOCH = (1980, 1, 1, 0, 0, 0)


def contents() -> dict[str, str]:
    """Path in the zip -> text of the file."""
    found = {
        *imported_files(ENTRY_POINT),
        *(path for pattern in DATA for path in REPO.glob(pattern)),
    }
    sources = {
        path.relative_to(REPO).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(found)
    }
    constraints = (REPO / "constraints.txt").read_text(encoding="utf-8")
    return {
        **sources,
        "main.py": MAIN,
        "requirements.txt": requirements(),
        "constraints.txt": constraints,
    }


def imported_files(entry_point: str) -> set[Path]:
    """The repository's files that a module imports, directly and through others, its own among
    them.
    """
    modules = [entry_point]
    files: set[Path] = set()
    for module in modules:
        path = _file(module)
        if path is not None and path not in files:
            files.add(path)
            modules += _imports(path)
            modules += _packages(module)
    return files


def _file(module: str) -> Path | None:
    """The file of a module of this repository; None for any other's."""
    path = REPO.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    """Names that may be modules: of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _packages(module: str) -> Iterator[str]:
    parts = module.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts)))


def requirements() -> str:
    """Requirements of the collector in setup.py, with everything below them held to
    constraints.txt.
    """
    setup: Any = run_setup(str(REPO / "setup.py"), stop_after="init")
    asked = [*setup.install_requires, *setup.extras_require["collector"]]
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
