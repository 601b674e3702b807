"""The statements in docs/ run on the tables and views of `sql/`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sql.conftest import Warehouse
from tests.stack.prerequisites import REPO

PAGES = sorted((REPO / "docs").rglob("*.md"))


def statements(page: Path) -> list[str]:
    """What stands in a page's blocks of SQL, without comments."""
    blocks = re.findall(r"```sql\n(.+?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = re.sub(r"--.*", "", ";".join(blocks))
    return [statement for statement in lines.split(";") if statement.strip()]


DOCUMENTED = [
    pytest.param(statement, id=f"{page.stem}-{n}")
    for page in PAGES
    for n, statement in enumerate(statements(page))
]


@pytest.mark.parametrize("statement", DOCUMENTED)
def test_a_documented_statement_runs_on_the_tables_and_views(
    statement: str, tables: Warehouse
) -> None:
    rows = tables.client.query_and_wait(statement.replace("freshet.", f"{tables.dataset}."))

    assert list(rows) == []
