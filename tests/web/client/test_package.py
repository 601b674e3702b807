"""The package stands alone: what its wheel holds, and what it needs."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

from tests.stack.prerequisites import REPO

IMPORT_ALL = """
import importlib, pkgutil, sys
import freshet
for module in pkgutil.walk_packages(freshet.__path__, "freshet."):
    importlib.import_module(module.name)
print(freshet.__file__)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_the_wheel_holds_the_client_its_types_and_its_licence_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        licence = archive.read("freshet_client-0.1.0.dist-info/licenses/LICENSE").decode()
    sources = {path.name for path in (REPO / "web/client/freshet").iterdir() if path.is_file()}
    assert {name for name in names if "dist-info" not in name} == {
        f"freshet/{name}" for name in sources
    }
    assert "freshet/py.typed" in names
    assert licence == (REPO / "LICENSE").read_text(encoding="utf-8")


def test_the_client_runs_without_the_product(installed: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", IMPORT_ALL],
        check=True,
        cwd=tmp_path,
        env=installed,
        capture_output=True,
        text=True,
        timeout=60,
    )
    file, loaded = done.stdout.splitlines()
    assert Path(file).is_relative_to(installed["PYTHONPATH"].partition(":")[0])
    products = {"pipeline", "functions", "vertex", "web", "tests", "apache_beam", "google", "numpy"}
    assert products.isdisjoint(loaded.split())


def test_the_wheel_asks_for_exactly_the_packages_that_the_client_imports_by_range(
    wheel: Path,
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_bytes(archive.read("freshet_client-0.1.0.dist-info/METADATA"))
    required = metadata.get_all("Requires-Dist", [])
    assert {line.partition(">")[0] for line in required} == imported()
    assert all(",<" in line and "==" not in line for line in required)


def imported() -> set[str]:
    """The top-level packages that the client's files import, the standard library's apart."""
    found: set[str] = set()
    for path in (REPO / "web/client/freshet").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
    roots = {name.partition(".")[0] for name in found}
    return roots - sys.stdlib_module_names - {"freshet"}
