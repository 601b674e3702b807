"""The documents hold together: every link of theirs leads to a file that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.stack.prerequisites import REPO

DOCUMENTS = sorted(
    path
    for folder in (
        ".",
        "docs",
        "docs/decisions",
        "docs/protocols",
        "functions",
        "web",
        "web/sdk",
        "web/client",
    )
    for path in (REPO / folder).glob("*.md")
)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPO)))
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    links = [
        link for link in _LINK.findall(document.read_text(encoding="utf-8")) if "://" not in link
    ]
    assert [link for link in links if not (document.parent / link).exists()] == []
