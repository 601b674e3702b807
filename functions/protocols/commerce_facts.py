"""A tracker's event with free properties as ours: an order of three products as three purchases."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from functions.protocols.commerce_names import (
    PROPERTY_NAMES,
    event_of,
    named_properties,
    product_list_of,
)
from functions.protocols.contract import Translated
from functions.protocols.values import as_id, as_number, as_text, without_none
from pipeline.core.event_types import PRODUCT_EVENTS
from pipeline.core.events import MAX_ID_LENGTH, MAX_NUMBER, derived_event_id
from pipeline.core.invalid_event import InvalidEvent, TooMuch
from pipeline.core.metadata_fields import NUMBER_METADATA, TEXT_METADATA
from pipeline.core.privacy.consent import FIELD

MAX_PRODUCTS = 100
"""Of one event."""
MAX_FACTS = 5000
"""Of one request. A small body may list many products, and each becomes an event of ours."""

_OF_EACH_PRODUCT = ("order_id", "order_value", "currency", "coupon", "placement", "request_id")
_OF_CLICK = ("product_id", "title", "category", "brand", "price", "position")
_BESIDE_PRODUCT = {"title": "page_title"}
_ALL_BUT_QUERY = PROPERTY_NAMES - {"query"}
_NUMBERS = NUMBER_METADATA | {"order_value"}
_TEXTS = TEXT_METADATA | {"product_variant", "order_id", "currency", "coupon"}


class Fact(msgspec.Struct, frozen=True):
    """One event of ours, but for who and when."""

    event: str
    metadata: dict[str, Any]
    product_id: str | None = None


def facts_of(name: str, properties: Mapping[str, Any]) -> Sequence[Fact]:
    """Facts of an event by its name, or by what sites usually mean by it (see `commerce_names`).

    An event of a product that names none is kept under the name it came with: it says nothing for
    ranking.

    Args:
        name: as the site has it, not empty.
        properties: those of the event's own; what our metadata has another type for goes under
            `unmapped`.

    Raises:
        InvalidEvent: a product of a list has no id, or there are more than `MAX_PRODUCTS`.
    """
    event = event_of(name)
    if event in PRODUCT_EVENTS:
        return _of_products(event, properties) or [Fact(without_product(name), kept(properties))]
    if event == "click":
        known, rest = _known(properties, _OF_CLICK)
        return [Fact("click", kept(rest) | known, known.pop("product_id", None))]
    if event == "search":
        known, rest = _known(properties, ("query",))
        return [Fact("search", kept(rest) | known)]
    known, rest = _known(properties, ("product_id",))
    return [Fact(event or without_product(name), kept(rest), known.get("product_id"))]


def kept(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Properties as metadata: under a name of ours only what has our type, the other values under
    `unmapped`.

    `variant` becomes `product_variant`, for ours is the experiment's.
    """
    metadata: dict[str, Any] = {}
    unmapped: dict[str, Any] = {}
    for name, value in properties.items():
        fitting = _fitting(name, value)
        if name == "variant":
            metadata["product_variant"] = value
        elif fitting is not None or value is None:
            metadata[name] = fitting
        else:
            unmapped[name] = value
    if unmapped:
        metadata["unmapped"] = unmapped
    return metadata


def amounts_of(
    metadata: dict[str, Any], names: Collection[str], reserved: Collection[str]
) -> dict[str, Any]:
    """Metadata whose `names` are amounts; values that are none, and `reserved`, are `unmapped`.

    Args:
        metadata: of `kept`; amounts may be texts.
        reserved: names of our metadata that the collector reads, and a site may use otherwise.
    """
    unmapped = {name: metadata.pop(name) for name in reserved if name in metadata}
    for name in metadata.keys() & names:
        amount = as_amount(metadata[name])
        if amount is not None:
            metadata[name] = amount
        else:
            unmapped[name] = metadata.pop(name)
    if unmapped:
        before = metadata.get("unmapped")
        metadata["unmapped"] = {**before, **unmapped} if isinstance(before, dict) else unmapped
    return metadata


def consent_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Consent among an event's properties, where a site puts it there: as metadata, unchecked."""
    if properties.get(FIELD) is None:
        return {}
    return {FIELD: properties[FIELD]}


def written(
    facts: Sequence[Fact],
    shared: Mapping[str, Any],
    metadata: Mapping[str, Any],
    event_id: str | None,
    source: Any,
) -> list[dict[str, Any]]:
    """The facts as they go over the wire.

    Args:
        shared: `timestamp` and who; those that are None are left out.
        metadata: of each fact; a fact's own come first. Beside a product `title` is the product's,
            and the page's is `page_title`.
        event_id: the vendor's; several facts of it are numbered, so that they are the same when it
            is sent again.
        source: the vendor's event, from which the id follows where several facts have none.
    """
    ids = _event_ids(event_id, len(facts), source)
    beside_product = {_BESIDE_PRODUCT.get(name, name): value for name, value in metadata.items()}
    found = []
    for fact, fact_id in zip(facts, ids, strict=True):
        around = beside_product if fact.product_id else metadata
        fields = {
            "event": fact.event,
            "event_id": fact_id,
            **shared,
            "product_id": fact.product_id,
            "metadata": without_none({**around, **fact.metadata}),
        }
        found.append(without_none(fields))
    return found


def _event_ids(event_id: str | None, count: int, source: Any) -> Sequence[str | None]:
    if count == 1:
        return [event_id]
    if event_id is None:
        event_id = derived_event_id(source)
    return [f"{event_id[: MAX_ID_LENGTH - 4]}:{number}" for number in range(count)]


def from_zero(metadata: dict[str, Any]) -> dict[str, Any]:
    """The `position` of a vendor whose lists begin with 1 as ours, which begin with 0.

    Beside a `request_id` it is the place in a slate of ours, as the site was given it.
    """
    position = metadata.get("position")
    if not isinstance(position, (int, float)) or "request_id" in metadata:
        return metadata
    return metadata | {"position": max(position - 1, 0)}


def within_bounds(translated: Iterable[Translated]) -> Iterator[Translated]:
    """Each of them, until they come to too much.

    Raises:
        TooMuch: field `events`, when they stand for more than `MAX_FACTS`: the sender has to split
            them.
    """
    facts = 0
    for one in translated:
        facts += len(one.facts)
        if facts > MAX_FACTS:
            raise TooMuch("events", f"expected at most {MAX_FACTS} products")
        yield one


def _of_products(event: str, properties: Mapping[str, Any]) -> Sequence[Fact]:
    """One of each product; at an order the list counts first, else the product that the event
    itself names.
    """
    single, single_rest = _known(properties)
    list_name = product_list_of(properties, with_cart=event == "purchase")
    if list_name is not None and (event == "purchase" or "product_id" not in single):
        return _of_list(event, properties, list_name)
    product_id = single.pop("product_id", None)
    if not product_id:
        return []
    return [Fact(event, kept(single_rest) | single, product_id)]


def _of_list(event: str, properties: Mapping[str, Any], list_name: str) -> Sequence[Fact]:
    """Order, list, request and consent go with each product, the event's other properties with the
    first alone.
    """
    products = properties[list_name]
    if len(products) > MAX_PRODUCTS:
        raise InvalidEvent("products", f"expected at most {MAX_PRODUCTS} products", len(products))
    beside = {name: value for name, value in properties.items() if name != list_name}
    order, rest = _known(beside, _OF_EACH_PRODUCT)
    order |= consent_of(properties)
    facts = []
    for number, product in enumerate(products):
        own = _of_product(product, f"products[{number}]")
        product_id = own.pop("product_id")
        shared = order if number else order | kept(rest)
        facts.append(Fact(event, shared | own, product_id))
    return facts


def _of_product(product: Any, field: str) -> dict[str, Any]:
    """A listed product, which may be its id alone, in our names."""
    if isinstance(product, dict):
        known, rest = _known(product, within_a_product=True)
        found = kept(rest) | known
    else:
        found = without_none({"product_id": as_id(product)})
    if "product_id" not in found:
        raise InvalidEvent(field, "expected the id of a product", product)
    return found


def _known(
    properties: Mapping[str, Any],
    names: Collection[str] | None = None,
    within_a_product: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Properties under our names (all but the query, or `names`), and those that are left."""
    known: dict[str, Any] = {}
    rest = dict(properties)
    for name, candidates in named_properties(properties, within_a_product).items():
        if name not in (names or _ALL_BUT_QUERY):
            continue
        for given in candidates:
            value = _fitting(name, properties[given])
            if value is not None:
                known[name] = value
                del rest[given]
                break
    return known, rest


def _fitting(name: str, value: Any) -> Any:
    """The value as our metadata have it under this name; None where its type does not fit."""
    if name == "product_id":
        return as_id(value)
    if name in _NUMBERS:
        return as_amount(value)
    if name in _TEXTS:
        return as_text(value)
    return value


def as_amount(value: Any) -> float | int | None:
    """A number of 0 to `MAX_NUMBER`, also one written as a text; None for anything else."""
    number = as_number(value)
    if number is None or not 0 <= number <= MAX_NUMBER:
        return None
    return number


def without_product(name: str) -> str:
    """The name of an event without a product: one that needs a product would be rejected."""
    if name in PRODUCT_EVENTS:
        return f"{name}_without_product"
    return name
