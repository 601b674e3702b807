"""The schemas and the parser agree on every event, and the tracking plan is what the schemas
say."""

from __future__ import annotations

import sys
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions import package
from functions.contract.schemas import (
    COMMON,
    CUSTOM,
    EVENTS,
    FOLDER,
    VERSION,
    documents,
    fields,
    generate,
    sdk_types,
    table,
)
from functions.contract.schemas.__main__ import main
from functions.message_attributes import SCHEMA_VERSION
from pipeline.core.event_types import EVENT_CODES
from pipeline.core.events import parse_event
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.metadata_fields import NUMBER_METADATA, TEXT_METADATA
from pipeline.core.timestamps import parse_time

SCHEMAS = documents()
BASE = "https://freshet.invalid/schemas/"
REGISTRY = jsonschema_rs.Registry(
    [(f"{BASE}{name}.json", schema) for name, schema in SCHEMAS.items()]
)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVENT = {"event_id": "e1", "event": "click", "timestamp": "2026-01-01T12:00:00Z", "user_id": "u1"}


def validator(name: str, pointer: str = "") -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"{BASE}{name}.json#{pointer}"},
        registry=REGISTRY,
        offline=True,
        validate_formats=True,
    )


VALIDATORS = {name: validator(name) for name in SCHEMAS}


def schema_accepts(event: dict[str, Any]) -> bool:
    """By the schema of its name; what has no readable name is custom."""
    name = event.get("event")
    return VALIDATORS[name if isinstance(name, str) and name in EVENT_CODES else CUSTOM].is_valid(
        event
    )


def parser_accepts(event: dict[str, Any]) -> bool:
    """Arriving when it happened: no schema knows what time it is."""
    try:
        arrival = parse_time("timestamp", event.get("timestamp"))
    except InvalidEvent:
        arrival = NOW
    try:
        parse_event(event, ingest_time=arrival)
    except InvalidEvent:
        return False
    return True


# ---- events: good ones, and such as are good in most

ASSIGNED = st.characters(exclude_categories=("Cs", "Cn"))
"""Whether characters are printable that Unicode 14 had not assigned depends on whom one asks."""
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(ASSIGNED),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(ASSIGNED, max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
IDS = st.one_of(
    st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20),
    st.text(ASSIGNED, max_size=5),
    st.sampled_from(
        [
            "",
            " ",
            "a" * 256,
            "a" * 257,
            "é" * 256,
            "\U0001f600" * 256,
            "a\n",
            "\x00",
            "\u200b",
            "\u00a0",
        ]
    ),
    st.none(),
)
TIMES = st.one_of(
    st.datetimes(datetime(1001, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC)).map(
        datetime.isoformat
    ),
    st.from_regex(
        r"\A[12][0-9]{3}-[0-1][0-9]-[0-3][0-9][Tt "
        r"_][0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.,][0-9]{0,9})?"
        r"([Zz]|[+-][0-2][0-9]:?[0-6][0-9]|)\Z"
    ),
    JSON,
)
NUMBERS = st.one_of(
    st.floats(0, 1e15),
    st.integers(-2, 2),
    st.sampled_from([10**15, 10**15 + 1, 10**400, 1.5e15, -0.0, 5e-324, True]),
)
VALUES = st.none() | st.text(ASSIGNED, max_size=5) | NUMBERS | JSON
SPOKEN_OF = sorted(NUMBER_METADATA | TEXT_METADATA)


GOOD_METADATA = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.none() | st.text(ASSIGNED, max_size=5) for name in TEXT_METADATA},
        **{
            name: st.none() | st.floats(0, 1e15) | st.integers(0, 10**15)
            for name in NUMBER_METADATA
        },
    },
)


ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
GOOD_IDS = st.text(ASSIGNED.filter(str.isprintable), min_size=1, max_size=20)
GOOD = st.builds(
    lambda beside, own: {**beside, **own},
    GOOD_METADATA,
    st.fixed_dictionaries(
        {
            "event_id": GOOD_IDS,
            "event": st.sampled_from(sorted(EVENT_CODES)) | GOOD_IDS,
            "timestamp": st.datetimes(
                datetime(1001, 1, 1), datetime(2999, 1, 1), timezones=ZONES
            ).map(datetime.isoformat),
            "anonymous_id": GOOD_IDS,
            "product_id": GOOD_IDS,
        },
        optional={
            "user_id": GOOD_IDS | st.none(),
            "session_id": GOOD_IDS | st.none(),
            "metadata": GOOD_METADATA,
        },
    ),
)
NAMES = st.sampled_from(SPOKEN_OF) | st.text(ASSIGNED, max_size=8)
ANY: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ["event_id", "user_id", "anonymous_id", "session_id", "product_id"], IDS | JSON
    ),
    "event": st.sampled_from(sorted(EVENT_CODES)) | IDS | JSON,
    "timestamp": TIMES,
    "ingest_time": JSON,
    "metadata": st.dictionaries(NAMES, VALUES, max_size=3) | JSON,
    **dict.fromkeys(SPOKEN_OF, VALUES),
}
DOUBTFUL = st.sampled_from(list(ANY)).flatmap(lambda name: st.tuples(st.just(name), ANY[name]))
DOUBTED = st.builds(lambda event, *doubts: {**event, **dict(doubts)}, GOOD, DOUBTFUL, DOUBTFUL)
"""Good in all but two fields, which are anything."""
LACKING = st.builds(
    lambda event, name: {key: value for key, value in event.items() if key != name},
    GOOD,
    st.sampled_from(["event_id", "event", "timestamp", "anonymous_id", "product_id"]),
)


@settings(max_examples=400)
@given(DOUBTED | LACKING)
@example({**EVENT, "price": "x", "metadata": {"price": 3}})
@example({**EVENT, "price": 3, "metadata": {"price": "x"}})
@example({**EVENT, "price": "x", "metadata": {"price": None}})
@example({**EVENT, "price": "x", "metadata": None})
@example({**EVENT, "price": True})
@example({**EVENT, "price": 10**15})
@example({**EVENT, "price": 10**15 + 1})
@example({**EVENT, "price": 10**400})
@example({**EVENT, "user_id": None, "anonymous_id": None})
@example({**EVENT, "user_id": None, "anonymous_id": "a1"})
@example({**EVENT, "event": "purchase", "product_id": None})
def test_a_schema_accepts_what_the_parser_accepts_and_nothing_else(event: dict[str, Any]) -> None:
    assert schema_accepts(event) == parser_accepts(event)


@given(GOOD)
def test_both_accept_what_keeps_the_contract(event: dict[str, Any]) -> None:
    assert schema_accepts(event)
    assert parser_accepts(event)


@pytest.mark.parametrize("name", sorted(TEXT_METADATA | NUMBER_METADATA))
@pytest.mark.parametrize("value", ["text", 3, 0.5, -1, True, None, [], {}, 1e16])
def test_they_agree_on_every_field_they_both_speak_of(name: str, value: Any) -> None:
    for event in ({**EVENT, name: value}, {**EVENT, "metadata": {name: value}}):
        assert schema_accepts(event) == parser_accepts(event)


def test_they_agree_on_every_day_of_a_leap_year_and_on_the_end_of_every_february() -> None:
    days = [f"2024-{month:02}-{day:02}" for month in range(14) for day in range(33)]
    ends = [f"{year}-02-{day}" for year in range(1000, 3000) for day in (28, 29, 30)]
    for day in [*days, *ends]:
        event = {**EVENT, "timestamp": f"{day}T00:00:00Z"}
        assert schema_accepts(event) == parser_accepts(event), day
    assert schema_accepts({**EVENT, "timestamp": "2024-02-29T00:00:00Z"})
    assert not schema_accepts({**EVENT, "timestamp": "1900-02-29T00:00:00Z"})


@pytest.mark.parametrize(
    "text",
    """
    2026-01-01t12:00:00z|2026-01-01 12:00:00Z|2026-01-01T12:00Z|2026-01-01T12:00:00+0000
    2026-01-01T12:00:00+00
    2026-01-01T12:00:00.123456789Z|2026-01-01T12:00:00.Z|2026-01-01T12:00:00,5Z|2026-01-01T23:59:60Z
    2026-01-01
    2026-01-01T24:00:00Z|2026-01-01T12:00:00|2026-01-01T12:00:00+23:59|2026-01-01T12:00:00+24:00
    20260101T120000Z
    2026-01-01T12:00:00-00:00|2026-01-01T12:00:00+14:60|２026-01-01T12:00:00Z|2026-01-01_12:00:00Z|
    """.replace("\n    ", "|").split("|"),
)
def test_they_agree_on_how_a_time_may_be_written(text: str) -> None:
    for written in (text, f" {text}", f"{text}\n"):
        event = {**EVENT, "timestamp": written}
        assert schema_accepts(event) == parser_accepts(event)


def test_they_agree_on_every_assigned_character() -> None:
    """Of those that Unicode 14, which Python 3.11 knows, had not assigned, a validator may know
    better.
    """
    ids = validator(COMMON, "/$defs/id")
    for character in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(character) not in ("Cs", "Cn"):
            assert ids.is_valid(character) == character.isprintable(), hex(ord(character))


def test_times_beyond_what_a_schema_knows_are_left_to_the_parser() -> None:
    old = {**EVENT, "timestamp": (NOW - timedelta(days=3)).isoformat()}
    assert schema_accepts(old)
    with pytest.raises(InvalidEvent):
        parse_event(old, ingest_time=NOW)


@given(DOUBTED, st.text(ASSIGNED, min_size=1, max_size=10).filter(str.isprintable))
def test_what_the_common_part_accepts_passes_as_custom_under_any_unknown_name(
    event: dict[str, Any], name: str
) -> None:
    event["event"] = f"my {name}"
    assert VALIDATORS[CUSTOM].is_valid(event) == VALIDATORS[COMMON].is_valid(event)


def test_a_known_name_is_no_custom_event_nor_another() -> None:
    for name in EVENT_CODES:
        event = {**EVENT, "event": name, "product_id": "p1"}
        assert [other for other in EVENTS if VALIDATORS[other].is_valid(event)] == [name]


# ---- what they are


def test_there_is_a_schema_for_every_name_that_the_stored_states_know() -> None:
    assert set(EVENTS) == set(EVENT_CODES) | {CUSTOM}
    assert all(SCHEMAS[name]["title"] == name for name in EVENTS)


def test_the_version_is_the_one_that_messages_carry() -> None:
    assert VERSION == SCHEMA_VERSION


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one_of_the_draft_and_describes_itself(name: str) -> None:
    jsonschema_rs.meta.validate(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMAS[name]["description"].endswith((".", "14."))
    assert SCHEMAS[name]["x-since"] in {str(version) for version in range(1, int(VERSION) + 1)}


@pytest.mark.parametrize("name", table.metadata_fields(SCHEMAS[COMMON]))
def test_every_field_has_a_description_a_type_and_a_range_and_every_number_a_unit(
    name: str,
) -> None:
    schema = SCHEMAS[COMMON]["$defs"][name]
    assert schema["description"].endswith(".")
    assert table.kind(schema) in {"string", "number", "object", "array"}
    assert table.extent(schema)
    assert bool(schema.get("x-unit")) == (table.kind(schema) == "number")


def test_what_is_expected_of_a_value_is_a_schema() -> None:
    for name in table.metadata_fields(SCHEMAS[COMMON]):
        jsonschema_rs.meta.validate(SCHEMAS[COMMON]["$defs"][name].get("x-expected", {}))


def test_an_event_names_only_fields_that_are_described() -> None:
    for name in EVENTS:
        assert set(fields(SCHEMAS[name])) <= set(table.metadata_fields(SCHEMAS[COMMON]))


# ---- what is generated from the tables -----------------------------------------------------------


@pytest.mark.parametrize("name", [COMMON, *EVENTS])
def test_a_schema_file_is_not_stale(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_bytes() == generate.as_file(generate.schemas()[name]), (
        f"{name}.json is stale: run `make schemas ARGS=--write`"
    )


def test_there_is_no_schema_file_that_no_table_has() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(generate.schemas())


def test_the_event_names_of_the_browser_sdk_are_not_stale() -> None:
    text = sdk_types.TYPES.read_text("utf-8")
    assert all(f'| "{name}"' in text for name in EVENT_CODES)
    assert sdk_types.typed(text) == text, (
        "web/sdk/freshet.d.ts is stale: run `make schemas ARGS=--write`"
    )


def test_a_file_of_types_without_event_names_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one `export type EventName`, got 0"):
        sdk_types.typed("export type Other = string;")


# ---- the tracking plan


def test_the_document_is_not_stale() -> None:
    text = table.DOCUMENT.read_text("utf-8")
    assert table.documented(text, table.tables()) == text, (
        "docs/tracking-plan.md is stale: run `make schemas ARGS=--write`"
    )


def test_the_plan_tells_of_every_event_and_field() -> None:
    plan = table.tables()
    for name in [
        *EVENT_CODES,
        *table.metadata_fields(SCHEMAS[COMMON]),
        *SCHEMAS[COMMON]["required"],
    ]:
        assert f"| `{name}` |" in plan


def test_a_row_tells_unit_range_and_what_becomes_of_another_value() -> None:
    plan = table.tables()
    assert "| number | the shop's currency | [0, 1e15] | rejected | 1 |" in plan
    assert "| number | % | [0, 100] | not read | 1 |" in plan
    assert "| number | probability | (0, 1] (accepted: [0, 1e15]) | rejected | 1 |" in plan
    assert "| `purchase` | An item was bought;" in plan
    assert "| `event_id`, `event`, `timestamp`, `product_id`, `user_id` or `anonymous_id` |" in plan


def test_a_text_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the lines"):
        table.documented("# Tracking plan", "")


def test_the_command_prints_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == table.tables() + "\n"


def test_the_command_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--doc"]) == 2
    assert "expected nothing or --write, got ['--doc']" in capsys.readouterr().err


def test_the_zip_holds_the_schemas() -> None:
    assert {f"functions/contract/schemas/{VERSION}/{name}.json" for name in SCHEMAS} <= set(
        package.contents()
    )
