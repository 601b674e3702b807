"""The catalog loader: good rows into Bigtable, bad ones told by line, and a file twice is a file
once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery

from pipeline.core.attributes import AttributeSchema
from pipeline.core.catalog import Item
from pipeline.ops.catalog import MAX_PROBLEMS, WRITE_AT_ONCE, Loader, file_rows, main
from pipeline.store.blocking import Bigtable, Store

CatalogFile = Callable[[str, str], Path]


@pytest.fixture
def catalog(tmp_path: Path) -> CatalogFile:
    """Writes a file of the given name and text."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def load(path: Path, store: Store, copy: Path | None = None) -> tuple[int, list[str]]:
    """How many items were written, and what is wrong with the others."""
    loader = Loader(store, AttributeSchema(), copy)
    loaded = loader.load(file_rows(path, loader.columns), path.name)
    return loaded.written, loaded.problems


def lines(*rows: dict[str, Any]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def test_json_lines_are_loaded(store: Store, catalog: CatalogFile, tag: str) -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"{tag}-1", "title": "Lamp ü", "price": 2, "category": "home.light"},
        {"id": f"{tag}-2"},
    ]
    assert load(catalog("c.jsonl", "\n" + lines(*rows) + "\n\n"), store) == (2, [])
    assert store.read_items([f"{tag}-1", f"{tag}-2"]) == {
        f"{tag}-1": Item(f"{tag}-1", "Lamp ü", "home.light", price=2.0),
        f"{tag}-2": Item(f"{tag}-2"),
    }


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_is_loaded_with_or_without_a_byte_order_mark(
    store: Store, catalog: CatalogFile, tag: str, mark: str
) -> None:
    text = f'{mark}id,title,price,in_stock,colour\n{tag},"Lamp, tall\nand thin",9.5,no,red\n'
    assert load(catalog("c.csv", text), store) == (1, [])
    assert store.read_items([tag]) == {
        tag: Item(
            tag,
            "Lamp, tall\nand thin",
            price=9.5,
            in_stock=False,
            attributes={"colour": "red"},
        )
    }


def test_bad_rows_are_told_by_file_line_and_field_and_the_good_are_loaded(
    store: Store, catalog: CatalogFile, tag: str
) -> None:
    bad = ['{"id": ""}', "not json", "[1]", "[" * 100_000, '{"id": "x", "price": "much"}']
    loaded, problems = load(catalog("c.jsonl", "\n".join([json.dumps({"id": tag}), *bad])), store)
    assert loaded == 1 and tag in store.read_items([tag])
    assert problems[0] == "c.jsonl line 2: id: expected 1 to 256 printable characters, got "
    assert problems[1] == "c.jsonl line 3: item: expected a JSON object, got not json"
    assert problems[2] == "c.jsonl line 4: item: expected a JSON object, got [1]"
    assert problems[3].startswith("c.jsonl line 5: item: expected at most 20000 objects and lists")
    assert problems[4] == "c.jsonl line 6: price: expected a number, got much"


def test_a_csv_row_that_is_too_short_or_too_long_is_read_as_far_as_it_goes(
    store: Store, catalog: CatalogFile, tag: str
) -> None:
    assert load(catalog("c.csv", f"id,title,price\n{tag}-1\n{tag}-2,T,3,more\n"), store) == (2, [])
    assert store.read_items([f"{tag}-2"])[f"{tag}-2"].price == 3.0


def test_the_last_row_of_an_id_wins_and_loading_again_changes_nothing(
    store: Store, catalog: CatalogFile, tag: str
) -> None:
    path = catalog("c.jsonl", lines({"id": tag, "title": "old"}, {"id": tag, "title": "new"}))
    assert load(path, store) == load(path, store) == (1, [])
    assert store.read_items([tag])[tag].title == "new"


def test_a_load_overwrites_an_older_load(store: Store, catalog: CatalogFile, tag: str) -> None:
    load(catalog("c.jsonl", lines({"id": tag, "title": "first"})), store)
    assert store.read_items([tag])[tag] == Item(tag, title="first")
    load(catalog("c.jsonl", lines({"id": tag, "title": "second"})), store)
    assert store.read_items([tag])[tag].title == "second"


def test_more_rows_than_one_write_holds_are_all_loaded(
    store: Store, catalog: CatalogFile, tag: str
) -> None:
    ids = [f"{tag}-{n}" for n in range(WRITE_AT_ONCE + 2)]
    assert load(catalog("c.jsonl", lines(*({"id": i} for i in ids))), store) == (len(ids), [])
    assert sorted(store.read_items(ids)) == sorted(ids)


def test_a_copy_gets_the_good_items_beside_those_it_holds(
    store: Store, catalog: CatalogFile, tag: str, tmp_path: Path
) -> None:
    copy = tmp_path / "new folder" / "catalog.jsonl"
    load(catalog("items.csv", f"id,title,price\n{tag}-a,One,1.5\n{tag}-b,Two,dear\n"), store, copy)
    load(catalog("more.jsonl", lines({"id": f"{tag}-c", "title": "Old"})), store, copy)
    load(catalog("again.jsonl", lines({"id": f"{tag}-c", "title": "New"})), store, copy)
    held = {
        item["item_id"]: item["title"] for item in map(json.loads, copy.read_text().splitlines())
    }
    assert held == {f"{tag}-a": "One", f"{tag}-c": "New"}


def test_the_command_says_how_many_and_ends_with_nought_when_all_were_good(
    source: Bigtable, catalog: CatalogFile, tag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"GOOGLE_CLOUD_PROJECT": source.project, "FRESHET_BIGTABLE_INSTANCE": source.instance}
    assert main([str(catalog("c.jsonl", lines({"id": tag})))], environ) == 0
    assert capsys.readouterr().out == "catalog: loaded from c.jsonl: 1, refused: 0\n"


def test_the_command_ends_with_one_when_a_row_was_refused(
    source: Bigtable, catalog: CatalogFile, tag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"GOOGLE_CLOUD_PROJECT": source.project, "FRESHET_BIGTABLE_INSTANCE": source.instance}
    assert main([str(catalog("c.csv", f"id,price\n{tag},1\n{tag}x,-1\n"))], environ) == 1
    shown = capsys.readouterr()
    assert shown.out == "catalog: loaded from c.csv: 1, refused: 1\n"
    assert shown.err == "c.csv line 3: price: expected a finite number of at least 0, got -1\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "usage: "),
        (["a", "b"], "usage: "),
        (["--table"], "usage: "),
        (["/no/such.jsonl"], "catalog: expected a file, got /no/such.jsonl"),
    ],
)
def test_the_command_ends_with_two_when_it_is_not_told_a_file(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv, {}) == 2
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize("name", ["c.jsonl", "c.csv"])
def test_a_file_that_is_no_text_is_told_and_nothing_is_loaded(
    source: Bigtable, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(b"id,title\n\xff\xfe,x\n")
    environ = {"GOOGLE_CLOUD_PROJECT": source.project, "FRESHET_BIGTABLE_INSTANCE": source.instance}
    assert main([str(path)], environ) == 2
    assert capsys.readouterr().err == f"catalog: expected UTF-8 text in {name}\n"


def test_the_command_names_a_missing_project(
    catalog: CatalogFile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(catalog("c.jsonl", "{}"))], {}) == 2
    assert (
        capsys.readouterr().err
        == "catalog: GOOGLE_CLOUD_PROJECT: required, expected a non-empty text\n"
    )


def test_what_is_wrong_is_counted_and_told_as_far_as_one_reads(
    store: Store, catalog: CatalogFile, tag: str
) -> None:
    path = catalog("c.jsonl", "{}\n" * (MAX_PROBLEMS + 5) + lines({"id": tag}))
    loader = Loader(store, AttributeSchema())
    loaded = loader.load(file_rows(path, loader.columns), "c")
    assert (loaded.written, loaded.refused) == (1, MAX_PROBLEMS + 5)
    assert len(loaded.problems) == MAX_PROBLEMS


def test_a_feed_that_breaks_off_is_written_until_there(
    source: Bigtable,
    store: Store,
    catalog: CatalogFile,
    tag: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = catalog("c.json", f'[{{"id": "{tag}"}}, {{"id"')
    environ = {"GOOGLE_CLOUD_PROJECT": source.project, "FRESHET_BIGTABLE_INSTANCE": source.instance}
    assert main([str(path)], environ) == 2
    assert capsys.readouterr().err.startswith("catalog: c.json: expected JSON, got {")
    assert tag in store.read_items([tag])


def test_a_value_that_contradicts_rows_before_is_refused(
    store: Store, catalog: CatalogFile, tag: str
) -> None:
    rows = [
        {"id": f"{tag}-1", "attributes": {"weight": 5}},
        {"id": f"{tag}-2", "attributes": {"weight": "heavy"}},
    ]
    assert load(catalog("c.jsonl", lines(*rows)), store) == (
        1,
        [
            "c.jsonl line 2: attributes.weight: expected a finite number, as in items before, "
            "got heavy"
        ],
    )


def test_declared_types_hold_and_other_columns_are_told(
    source: Bigtable,
    store: Store,
    catalog: CatalogFile,
    tag: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = catalog("c.csv", f"id,weight,tags,note\n{tag},2.5,new|sale,x\n")
    environ = {
        "GOOGLE_CLOUD_PROJECT": source.project,
        "FRESHET_BIGTABLE_INSTANCE": source.instance,
        "FRESHET_ATTRIBUTES": "{weight: number, tags: list}",
    }
    assert main([str(path)], environ) == 0
    assert "columns that are neither field nor attribute: note" in capsys.readouterr().err
    item = store.read_items([tag])[tag]
    assert item.attributes == {"weight": 2.5, "tags": ["new", "sale"]}


def test_a_table_of_bigquery_is_loaded(
    source: Bigtable,
    store: Store,
    bigquery_server: bigquery.Client,
    emulators: Mapping[str, str],
    tag: str,
) -> None:
    bigquery_server.create_dataset(f"shop_{tag}")
    table = f"shop_{tag}.products"
    bigquery_server.query_and_wait(
        f"create table {table} (id string, title string, price numeric, in_stock bool, "
        "published_at timestamp, color string, tags array<string>)"
    )
    bigquery_server.query_and_wait(
        f"insert into {table} values ('{tag}', 'Lamp', 12.5, false, "
        "timestamp '2026-01-01 00:00:00+00', 'red', ['a', 'b'])"
    )
    environ = {
        **emulators,
        "FRESHET_BIGTABLE_INSTANCE": source.instance,
        "GOOGLE_CLOUD_PROJECT": source.project,
    }
    del environ["FRESHET_CATALOG"]
    assert main(["--table", table], environ) == 0
    assert store.read_items([tag])[tag] == Item(
        tag,
        "Lamp",
        price=12.5,
        in_stock=False,
        published_ms=1_767_225_600_000,
        attributes={"color": "red", "tags": ["a", "b"]},
    )


def test_a_table_that_is_not_there_is_told(
    source: Bigtable, emulators: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {**emulators, "FRESHET_BIGTABLE_INSTANCE": source.instance}
    assert main(["--table", "no.such"], environ) == 2
    assert "catalog: no.such: expected a table that can be read" in capsys.readouterr().err
