"""The Makefile's settings, where make runs make."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.stack.prerequisites import REPO


def test_make_within_make_shares_its_jobs_without_a_warning(tmp_path: Path) -> None:
    outer = tmp_path / "Makefile"
    outer.write_text(f"all: ; @$(MAKE) --no-print-directory -f {REPO}/Makefile help\n", "utf-8")
    # the tests themselves may run under make
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFL"))
    }
    done = subprocess.run(
        ["make", "--jobs=2", "-f", str(outer)], env=env, capture_output=True, text=True, check=True
    )
    assert "make setup" in done.stdout
    assert done.stderr == ""
