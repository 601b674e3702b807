"""The table of the fields of `metadata` with a meaning; rules, schemas and docs follow from it.

The contract checks some of them. Of the others a profile reads the values that make sense; all stay
in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec


class MetadataField(msgspec.Struct, frozen=True, kw_only=True):
    """One field of `metadata`.

    Attributes:
        name: its key.
        description: a sentence or two for the tracking plan.
        kind: its JSON type.
        is_checked: an event with a value of another type is rejected, and so is a number below 0
            or above `events.MAX_NUMBER`.
        unit: of a number.
        expected: JSON Schema keywords that a value meets which makes sense.
        range: a description of the range, where no keyword gives it.
        is_added: the collector writes it, not the client.
    """

    name: str
    description: str
    kind: Literal["string", "number", "object", "array"]
    is_checked: bool = False
    unit: str | None = None
    expected: Mapping[str, Any] = {}
    range: str | None = None
    is_added: bool = False


METADATA_FIELDS = (
    MetadataField(
        name="category",
        description="Category of the item, as the catalog names it.",
        kind="string",
        is_checked=True,
    ),
    MetadataField(name="brand", description="Brand of the item.", kind="string", is_checked=True),
    MetadataField(
        name="query", description="What the visitor searched for.", kind="string", is_checked=True
    ),
    MetadataField(
        name="request_id",
        description=(
            "The recommendation request that the item was shown for: joins impressions and clicks "
            "to it."
        ),
        kind="string",
        is_checked=True,
    ),
    MetadataField(
        name="placement",
        description="Where on the site it was shown, e.g. home or product_page.",
        kind="string",
        is_checked=True,
    ),
    MetadataField(
        name="variant",
        description="Variant of the experiment that the visitor saw.",
        kind="string",
        is_checked=True,
    ),
    MetadataField(name="url", description="Address of the page.", kind="string", is_checked=True),
    MetadataField(
        name="title",
        description="Title of the page, or name of the item.",
        kind="string",
        is_checked=True,
    ),
    MetadataField(
        name="referrer",
        description="Address of the page that led here.",
        kind="string",
        is_checked=True,
    ),
    MetadataField(
        name="price",
        description="Price of one piece.",
        kind="number",
        is_checked=True,
        unit="the shop's currency",
    ),
    MetadataField(
        name="quantity",
        description="How many pieces.",
        kind="number",
        is_checked=True,
        unit="pieces",
    ),
    MetadataField(
        name="experiments",
        description=(
            "Experiments that what was shown stood in, each as `experiment=variant`, as the API's "
            "answer has them."
        ),
        kind="array",
        expected={"items": {"type": "string"}},
        range="texts",
    ),
    MetadataField(
        name="position",
        description="Place in the list that was shown, 0 for the first.",
        kind="number",
        is_checked=True,
        unit="places",
    ),
    MetadataField(
        name="propensity",
        description="Probability with which the policy chose to show the item there.",
        kind="number",
        is_checked=True,
        unit="probability",
        expected={"exclusiveMinimum": 0, "maximum": 1},
    ),
    MetadataField(
        name="dwell_ms",
        description=(
            "Time on the page since the last report; what exceeds an hour counts as an hour."
        ),
        kind="number",
        is_checked=True,
        unit="ms",
        expected={"minimum": 0, "maximum": 3600000},
    ),
    MetadataField(
        name="results",
        description=(
            "How many results the search had. A query that had none sinks among suggestions."
        ),
        kind="number",
        unit="results",
        expected={"minimum": 0},
    ),
    MetadataField(
        name="depth",
        description="How far down the page the visitor came.",
        kind="number",
        unit="%",
        expected={"minimum": 0, "maximum": 100},
    ),
    MetadataField(
        name="scroll_depth",
        description="The same as `depth`, which is read first.",
        kind="number",
        unit="%",
        expected={"minimum": 0, "maximum": 100},
    ),
    MetadataField(
        name="watched_ms",
        description=(
            "Time watched or heard since the last report; what exceeds an hour counts as an hour."
            " Without it the time between media events counts."
        ),
        kind="number",
        unit="ms",
        expected={"minimum": 0, "maximum": 3600000},
    ),
    MetadataField(
        name="latitude",
        description="Where the visitor is, north of the equator; read with `longitude`.",
        kind="number",
        unit="degrees",
        expected={"minimum": -90, "maximum": 90},
    ),
    MetadataField(
        name="longitude",
        description="Where the visitor is, east of Greenwich; read with `latitude`.",
        kind="number",
        unit="degrees",
        expected={"minimum": -180, "maximum": 180},
    ),
    MetadataField(
        name="discount",
        description="What was taken off the price; above 0 the item counts as a deal.",
        kind="number",
        unit="the shop's currency",
        expected={"minimum": 0},
    ),
    MetadataField(
        name="list_price",
        description="Price before any discount; above `price` the item counts as a deal.",
        kind="number",
        unit="the shop's currency",
        expected={"minimum": 0},
    ),
    MetadataField(
        name="state",
        description="What the page has become. Anything but `hidden` counts as visible.",
        kind="string",
        expected={"enum": ["visible", "hidden"]},
    ),
    MetadataField(
        name="user_agent_family",
        description=(
            "Family of the browser or program, e.g. Firefox; `Other` where it is none that is"
            " known, `unknown` where nobody looked."
        ),
        kind="string",
        expected={"maxLength": 64},
        is_added=True,
    ),
    MetadataField(
        name="os_family",
        description="Family of the operating system, e.g. Android.",
        kind="string",
        expected={"maxLength": 64},
        is_added=True,
    ),
    MetadataField(
        name="device_class",
        description="Kind of device.",
        kind="string",
        expected={"enum": ["desktop", "mobile", "tablet", "tv", "bot", "other"]},
        is_added=True,
    ),
    MetadataField(
        name="language",
        description="The visitor's first language, as RFC 5646 writes it, e.g. pt-BR.",
        kind="string",
        expected={"minLength": 2, "maxLength": 39},
        is_added=True,
    ),
    MetadataField(
        name="country",
        description="Country of the client, in ISO 3166-1's two letters.",
        kind="string",
        expected={"minLength": 2, "maxLength": 2},
        is_added=True,
    ),
    MetadataField(
        name="utm_source",
        description="Who sent the visitor here; from the page's address.",
        kind="string",
        expected={"maxLength": 256},
        is_added=True,
    ),
    MetadataField(
        name="utm_medium",
        description="By what kind of means, e.g. email; from the page's address.",
        kind="string",
        expected={"maxLength": 256},
        is_added=True,
    ),
    MetadataField(
        name="utm_campaign",
        description="For which campaign; from the page's address.",
        kind="string",
        expected={"maxLength": 256},
        is_added=True,
    ),
    MetadataField(
        name="utm_term",
        description="Which search term was paid for; from the page's address.",
        kind="string",
        expected={"maxLength": 256},
        is_added=True,
    ),
    MetadataField(
        name="utm_content",
        description="Which of several links or ads it was; from the page's address.",
        kind="string",
        expected={"maxLength": 256},
        is_added=True,
    ),
    MetadataField(
        name="click_id_kind",
        description="Name of the advertiser's click id in the page's address; never its value.",
        kind="string",
        expected={
            "enum": [
                "gclid",
                "gbraid",
                "wbraid",
                "dclid",
                "fbclid",
                "msclkid",
                "ttclid",
                "twclid",
                "li_fat_id",
            ]
        },
        is_added=True,
    ),
    MetadataField(
        name="referrer_kind",
        description="What led here.",
        kind="string",
        expected={
            "enum": ["internal", "search", "social", "email", "ai", "other", "campaign", "direct"]
        },
        is_added=True,
    ),
    MetadataField(
        name="bot",
        description=(
            "Why the sender is taken for a program; absent for people. Such events are kept and "
            "marked."
        ),
        kind="string",
        range="`user_agent`, `no_user_agent`, `no_browser_signals`, or another reason",
        is_added=True,
    ),
    MetadataField(
        name="consent",
        description="What the visitor agreed to.",
        kind="object",
        expected={
            "properties": {"analytics": {"type": "boolean"}, "personalization": {"type": "boolean"}}
        },
        is_added=True,
    ),
)

TEXT_METADATA = frozenset(
    field.name for field in METADATA_FIELDS if field.is_checked and field.kind == "string"
)
NUMBER_METADATA = frozenset(
    field.name for field in METADATA_FIELDS if field.is_checked and field.kind == "number"
)
