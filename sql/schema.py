"""The warehouse as code: BigQuery statements for a bootstrap, and the same tables as JSON for
Terraform.

The `.sql` files are the one source:

    schema/name.sql          `create table if not exists`, one column a line, every column described
    staging/name.sql         the query of the view `name`, on tables and other staging views
    marts/subject/name.sql   the query of the view `name`, which may read any view

Tables are made first, then the views, each after all that its query names. `${dataset}` stands for
"dataset" or "project.dataset", `${history_days}` for how far back views look. `python -m
sql.schema` writes `terraform/bigquery.json`, which Terraform reads; a test fails when it is stale.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

FOLDER = Path(__file__).parent
TERRAFORM_FILE = FOLDER.parent / "terraform" / "bigquery.json"
EVERYTHING_DAYS = 36_500
API_TYPES = {
    "string": "STRING",
    "timestamp": "TIMESTAMP",
    "int64": "INTEGER",
    "float64": "FLOAT",
    "bool": "BOOLEAN",
}

_CREATE = re.compile(r"create table if not exists `\$\{dataset\}\.(\w+)` \(")
_COLUMN = re.compile(r"  (\w+) (\w+)( not null)? options \(description = '([^']+)'\),?")
_PARTITION = re.compile(r"partition by date\((\w+)\)")
_CLUSTER = re.compile(r"cluster by (\w+(?:, \w+)*)")
_OPTIONS = re.compile(r"options \(description = '([^']+)'\);")
_REFERENCE = re.compile(r"`\$\{dataset\}\.(\w+)`")
_DATASET = re.compile(r"[\w-]+(\.\w+)?")


class SchemaError(ValueError):
    """A `.sql` file that breaks the convention above, or a name that no file has."""


@dataclass(frozen=True)
class Column:
    """One column, as the BigQuery API spells it: `type` STRING, `mode` REQUIRED or NULLABLE."""

    name: str
    type: str
    mode: str
    description: str


@dataclass(frozen=True)
class Table:
    """A table: partitioned by the day of `partition`, clustered by up to four columns."""

    name: str
    description: str
    partition: str
    clustering: tuple[str, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class View:
    """A view: its layer (staging or marts), purpose and grain, and its query with placeholders.

    `step`: 1 for a view of tables alone, else one more than the greatest of those it reads.
    """

    name: str
    layer: str
    description: str
    query: str
    step: int = 1

    @property
    def reads(self) -> set[str]:
        """The tables and views that the query names."""
        return set(_REFERENCE.findall(self.query))


def tables() -> list[Table]:
    """The tables, by name.

    Raises:
        SchemaError: naming file and line that are not as the convention says.
    """
    return [_table(path) for path in _files("schema")]


def views() -> list[View]:
    """The views, each after those it reads; those of one step by name.

    Raises:
        SchemaError: naming the view that reads what no file makes, itself, or from staging a mart.
    """
    found = [_view(layer, path) for layer in ("staging", "marts") for path in _files(layer)]
    return in_order(found, {table.name for table in tables()})


def in_order(views: Iterable[View], tables: Set[str]) -> list[View]:
    """The views with their steps, each after those it reads; those of one step by name. Raises
    SchemaError.
    """
    found = {view.name: view for view in views}
    for view in found.values():
        _check_references(view, found, tables)
    graph = {name: view.reads & found.keys() for name, view in found.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise SchemaError(
            f"views: expected no circle, got {' reads '.join(reversed(error.args[1]))}"
        ) from None
    steps: dict[str, int] = {}
    for name in order:
        steps[name] = 1 + max((steps[read] for read in graph[name]), default=0)
    made = [replace(found[name], step=step) for name, step in steps.items()]
    return sorted(made, key=lambda view: (view.step, view.name))


def statements(dataset: str, history_days: int = EVERYTHING_DAYS) -> list[str]:
    """The statements for tables, staging views and marts in an existing dataset; running twice is
    safe.

    Args:
        dataset: "freshet" or "project.freshet".
        history_days: how many days back from now the views look, 1 to 36,500; fewer days cost less.

    Raises:
        SchemaError: when `dataset` or `history_days` is out of bounds.
    """
    made = [path.read_text() for path in _files("schema")]
    return [
        _filled(text, dataset, history_days)
        for text in made + [_create_view(view) for view in views()]
    ]


def ddl(name: str, dataset: str, history_days: int = EVERYTHING_DAYS) -> str:
    """The statement that makes the table or view `name`.

    Raises:
        SchemaError: when no file has that name.
    """
    names = [table.name for table in tables()] + [view.name for view in views()]
    if name not in names:
        raise SchemaError(f"name: expected one of {', '.join(names)}, got {name!r}")
    return statements(dataset, history_days)[names.index(name)]


def for_terraform() -> str:
    """Tables and views as the JSON text that `terraform/bigquery.tf` decodes; the placeholders
    stay.
    """
    document = {
        "tables": {table.name: asdict(table) for table in tables()},
        "views": {view.name: asdict(view) for view in views()},
    }
    return json.dumps(document, indent=2) + "\n"


def _files(layer: str) -> list[Path]:
    return sorted((FOLDER / layer).rglob("*.sql"), key=lambda path: path.stem)


def _check_references(view: View, views: Mapping[str, View], tables: Set[str]) -> None:
    if unknown := view.reads - tables - views.keys():
        raise SchemaError(
            f"{view.name}: expected to read tables and views, got {', '.join(sorted(unknown))}"
        )
    marts = {name for name in view.reads & views.keys() if views[name].layer == "marts"}
    if view.layer == "staging" and marts:
        raise SchemaError(
            f"{view.name}: expected a staging view to read no mart, got {', '.join(sorted(marts))}"
        )


def _filled(text: str, dataset: str, history_days: int) -> str:
    if not _DATASET.fullmatch(dataset):
        raise SchemaError(f"dataset: expected dataset or project.dataset, got {dataset!r}")
    if not 1 <= history_days <= EVERYTHING_DAYS:
        raise SchemaError(f"history_days: expected 1 to {EVERYTHING_DAYS}, got {history_days}")
    return text.replace("${dataset}", dataset).replace("${history_days}", str(history_days))


def _create_view(view: View) -> str:
    description = view.description.replace("\\", "\\\\").replace("'", "\\'")
    head = (
        f"create or replace view `${{dataset}}.{view.name}`\noptions (description = "
        f"'{description}')\nas\n"
    )
    return f"{head}{view.query};\n"


def _view(layer: str, path: Path) -> View:
    text = path.read_text()
    header = dict(re.findall(r"^-- (\w+): +(.+)$", text, re.MULTILINE))
    if missing := {"purpose", "grain", "inputs"} - header.keys():
        raise SchemaError(
            f"{path.name}: expected header lines purpose, grain, inputs, missing {sorted(missing)}"
        )
    return View(path.stem, layer, f"{header['purpose']}; {header['grain']}", text.strip())


def _table(path: Path) -> Table:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("--")]
    end = lines.index(")") if ")" in lines else 0
    if end == 0 or len(lines) != end + 4:
        raise SchemaError(
            f"{path.name}: expected columns, then partition by, cluster by and options, a line each"
        )
    tail = lines[end + 1 :]
    return Table(
        name=_groups(_CREATE, lines[0], path)[0],
        description=_groups(_OPTIONS, tail[2], path)[0],
        partition=_groups(_PARTITION, tail[0], path)[0],
        clustering=tuple(_groups(_CLUSTER, tail[1], path)[0].split(", ")),
        columns=tuple(_column(line, path) for line in lines[1:end]),
    )


def _column(line: str, path: Path) -> Column:
    name, kind, required, description = _groups(_COLUMN, line, path)
    if kind not in API_TYPES:
        raise SchemaError(
            f"{path.name}: {name}: expected a type of {', '.join(API_TYPES)}, got {kind!r}"
        )
    return Column(name, API_TYPES[kind], "REQUIRED" if required else "NULLABLE", description)


def _groups(pattern: re.Pattern[str], line: str, path: Path) -> tuple[str, ...]:
    match = pattern.fullmatch(line)
    if match is None:
        raise SchemaError(f"{path.name}: expected {pattern.pattern}, got {line!r}")
    return match.groups()


def main() -> int:
    """Write `terraform/bigquery.json`."""
    TERRAFORM_FILE.write_text(for_terraform())
    sys.stdout.write(f"wrote {TERRAFORM_FILE.name}: {len(tables())} tables, {len(views())} views\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
