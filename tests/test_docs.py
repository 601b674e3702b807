"""Links between the documents, and the files that they name, lead to what is there."""

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
OF_TODAY = [document for document in DOCUMENTS if document.name != "CHANGELOG.md"]
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
_FILE = re.compile(r"`((?:docs|functions|pipeline|sql|terraform|tests|vertex|web)/[\w./-]*)`")
_MODULE = re.compile(r"-m ((?:functions|pipeline|sql|tests|vertex|web)(?:\.\w+)+)")
MADE_LATER = ("terraform/terraform.tfstate", "web/sdk/dist/")
"""What the documents name and a command makes."""
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPO)))
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    links = [path for path, _ in _links(document)]
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPO)))
def test_every_link_to_a_heading_leads_to_one(document: Path) -> None:
    targets = [
        (document.parent / path if path else document, anchor)
        for path, anchor in _links(document)
        if anchor
    ]
    documents = [(target, anchor) for target, anchor in targets if target.suffix == ".md"]
    assert [anchor for target, anchor in documents if anchor not in _anchors(target)] == []


@pytest.mark.parametrize("document", OF_TODAY, ids=lambda path: str(path.relative_to(REPO)))
def test_every_file_and_command_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    files = [name for name in _FILE.findall(text) if not name.startswith(MADE_LATER)]
    commands = [name.replace(".", "/") for name in _MODULE.findall(text)]
    assert [name for name in files if not (REPO / name).exists()] == []
    assert [
        name
        for name in commands
        if not (REPO / f"{name}.py").exists() and not (REPO / name / "__main__.py").exists()
    ] == []


@pytest.mark.parametrize("folder", ["docs", "docs/decisions", "docs/protocols"])
def test_the_index_of_a_folder_leads_to_each_of_its_pages(folder: str) -> None:
    index = REPO / folder / "README.md"
    named = {(index.parent / path).resolve() for path, _ in _links(index)}
    assert set(index.parent.glob("*.md")) - named == {index}


def test_the_readme_takes_two_screens_before_its_figures() -> None:
    text = (REPO / "README.md").read_text(encoding="utf-8")
    lines = text.partition("\n## Figures")[0].split("\n")
    assert len(lines) <= 85
    assert max(map(len, lines)) <= 100


def _links(document: Path) -> list[tuple[str, str]]:
    """Path and anchor of each link within the repository."""
    text = _FENCED.sub("", document.read_text(encoding="utf-8"))
    return [link for link in _LINK.findall(text) if "://" not in link[0]]


def _anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings, and those that it sets itself."""
    text = _FENCED.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))
