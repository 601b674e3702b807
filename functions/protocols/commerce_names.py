"""Names that sites give shop events and product properties where their tracker prescribes none
(Mixpanel, Amplitude).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_MAX_NAME_LENGTH = 64
"""No name below is as long: what is longer is the site's own and is not kept by the caches."""

_SPELLINGS = {
    "page_view": "page view|page viewed|viewed page|pageview|page visit|screen view"
    "|screen viewed|mp web page view",
    "click": "click|clicked|element clicked|link clicked|button clicked|product clicked"
    "|product click|mp click",
    "search": "search|searched|products searched|product searched|product search"
    "|search performed|performed search|search submitted|site search",
    "scroll": "scroll|scrolled|page scrolled|mp scroll",
    "impression": "impression|product impression|product list viewed|viewed product list"
    "|product list view|view item list|item list viewed",
    "view_product": "view product|viewed product|product view|product viewed|product detail viewed"
    "|product details viewed|product page viewed|product page view|view item|viewed item|item view"
    "|item viewed|view product page|viewed product page|item detail viewed|item details viewed",
    "add_to_cart": "add to cart|added to cart|cart add|add to basket|added to basket|add to bag"
    "|added to bag|product added|product added to cart|product added to basket"
    "|product added to bag|item added|item added to cart|item added to basket|item added to bag"
    "|add product to cart|added product to cart|add item to cart|added item to cart",
    "remove_from_cart": "remove from cart|removed from cart|cart remove|remove from basket"
    "|removed from basket|remove from bag|removed from bag|product removed"
    "|product removed from cart|item removed|item removed from cart|remove product from cart"
    "|removed product from cart|remove item from cart|removed item from cart",
    "purchase": "purchase|purchased|purchase completed|purchase complete|completed purchase"
    "|complete purchase|product purchased|purchased product|item purchased|purchased item"
    "|order completed|order complete|completed order|complete order|order placed|placed order"
    "|checkout completed|completed checkout|order confirmed|made a purchase|make purchase",
}
"""Our names, and their spellings in lower case. `_`, `-`, case and the vendors' prefixes do not
count."""

_EVENTS = {
    spelling: event for event, spellings in _SPELLINGS.items() for spelling in spellings.split("|")
}

_PROPERTIES = {
    "product_id": "productid itemid sku productsku itemsku skuid contentid",
    "price": "price unitprice productprice itemprice",
    "quantity": "quantity qty productquantity itemquantity",
    "category": "category productcategory itemcategory categoryname",
    "brand": "brand productbrand itembrand brandname",
    "title": "title productname itemname",
    "product_variant": "productvariant variant itemvariant",
    "position": "position",
    "order_id": "orderid transactionid",
    "order_value": "ordervalue ordertotal revenue total",
    "currency": "currency currencycode",
    "coupon": "coupon couponcode",
    "placement": "placement",
    "request_id": "requestid",
    "query": "query searchquery searchterm searchterms searchstring searchtext searchkeyword "
    "keyword keywords term",
}
"""Our names, and the letters and digits of their spellings, the likeliest first."""

PROPERTY_NAMES = frozenset(_PROPERTIES)
_RANKED = {
    spelling: (name, rank)
    for name, spellings in _PROPERTIES.items()
    for rank, spelling in enumerate(spellings.split())
}
_WITHIN_A_PRODUCT = {"id": ("product_id", 90), "name": ("title", 90)}
"""Names that are plain only in an entry of a list of products."""

_LISTS = {"products": 0, "items": 1, "productlist": 2, "lineitems": 3, "contents": 4}
CART_LISTS = {"cart": 5, "cartitems": 6, "basket": 7}
"""Products of the cart: an order bought them, any other event only happened beside them."""


def event_of(name: str) -> str | None:
    """Our name of an event, or None for one that only the site knows."""
    if len(name) > _MAX_NAME_LENGTH:
        return None
    return _event_of(name)


def named_properties(
    properties: Mapping[str, Any], within_a_product: bool = False
) -> dict[str, list[str]]:
    """Our names, each with the properties that may hold its value, the likeliest first."""
    found: dict[str, list[tuple[int, str]]] = {}
    for given in properties:
        ranked = _property_of(given, within_a_product)
        if ranked is not None:
            found.setdefault(ranked[0], []).append((ranked[1], given))
    return {name: [given for _, given in sorted(candidates)] for name, candidates in found.items()}


def product_list_of(properties: Mapping[str, Any], with_cart: bool) -> str | None:
    """The name of the property that lists products, with something in it; None where there is none.

    Args:
        with_cart: whether the cart counts.
    """
    kinds = _LISTS | CART_LISTS if with_cart else _LISTS
    candidates = []
    for given, value in properties.items():
        letters = _letters_of(given)
        if isinstance(value, list) and value and letters in kinds:
            candidates.append((kinds[letters], given))
    if not candidates:
        return None
    return min(candidates)[1]


@lru_cache(maxsize=4096)
def _event_of(name: str) -> str | None:
    bare = name.lower().removeprefix("[amplitude]").removeprefix("[mixpanel]")
    return _EVENTS.get(re.sub(r"[\s_$-]+", " ", bare).strip())


def _property_of(given: str, within_a_product: bool) -> tuple[str, int] | None:
    letters = _letters_of(given)
    if within_a_product and letters in _WITHIN_A_PRODUCT:
        return _WITHIN_A_PRODUCT[letters]
    return _RANKED.get(letters)


def _letters_of(given: str) -> str:
    if len(given) > _MAX_NAME_LENGTH:
        return ""
    return _cached_letters_of(given)


@lru_cache(maxsize=4096)
def _cached_letters_of(given: str) -> str:
    return re.sub(r"[^a-z0-9]", "", given.lower().removeprefix("[amplitude]"))
