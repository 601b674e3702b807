"""Names of personal fields, in any spelling and with their owner: `customerEmail`,
`billing_zips`."""

from __future__ import annotations

import re
from functools import lru_cache

MAX_NAME_LENGTH = 64
MAX_NAME_PARTS = 4
"""Parts of a name that count, from the end; no personal name has more."""

PII_FIELDS = frozenset(
    "email emailaddress useremail phone phonenumber phoneno mobile mobilephone mobilenumber "
    "mobileno telephone fax"
    " firstname lastname middlename fullname givenname familyname surname maidenname"
    " address streetaddress street addressline addressline1 addressline2 shippingaddress "
    "billingaddress"
    " zip zipcode postcode postalcode birthday birthdate dateofbirth dob gender"
    " ssn socialsecuritynumber taxid passport passportnumber iban cardnumber creditcard".split()
)
"""Names that `pii` stands for, anywhere in an event's metadata; compared by `plain_name`."""
TRAITS = frozenset({"traits", "usertraits", "userproperties", "userattributes", "set", "setonce"})
PII_IN_TRAITS = PII_FIELDS | {"name", "username", "avatar", "picture"}
"""In traits of a person these too; elsewhere a name is mostly a product's."""

_ORDINARY = frozenset("phone mobile mail address street zip gender name".split())
"""At the end of a longer name they are personal where it says before them whose they are, as one of
`_OWNERS`."""
_OWNERS = frozenset(
    "user customer contact billing shipping delivery invoice home work account member buyer "
    "recipient guest visitor"
    " shopper subscriber payer sender owner holder cardholder person passenger patient employee "
    "lead cell"
    " emergency".split()
)
_NOT_NAMED = frozenset("account delivery home shipping work cell lead emergency".split())
"""Things with names of their own: a way of shipping, an account."""
_FLAGS = frozenset("is has had can no with without".split())
"""Before a name they make a flag: `has_email` holds no address."""
_LAST = frozenset("home work primary secondary private business".split())
"""May stand after a personal name: `phone_home`."""
_OWNERS_LAST = frozenset(
    "user customer contact billing shipping buyer recipient guest shopper".split()
)
"""May stand there, too: `postal_code_customer`; but a `mobile_user` is one of a phone."""
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_A-Za-z]+")


def plain_name(name: str) -> str:
    """`firstName`, `first_name`, `First Name` and `$first_name` as `firstname`; of long names the
    beginning.
    """
    return _plain_name(name[:MAX_NAME_LENGTH])


def is_personal(name: str, personal: frozenset[str]) -> bool:
    """True where a field's name is one of `personal` (plain names), or ends with one and says whose
    it is.
    """
    return plain_name(name) in personal or _ends_personally(name[-MAX_NAME_LENGTH:])


@lru_cache(maxsize=4096)
def _plain_name(name: str) -> str:
    return name.lower().translate(_SEPARATORS)


_SEPARATORS = str.maketrans("", "", "_-$ .")


@lru_cache(maxsize=4096)
def _ends_personally(name: str) -> bool:
    parts = [part.lower() for part in _PART.findall(name)]
    while len(parts) > 1 and _may_follow(parts[-2], parts[-1]):
        parts.pop()
    if not parts or parts[0] in _FLAGS:
        return False
    first = max(0, len(parts) - MAX_NAME_PARTS)
    return any(_is_personal_end(parts[:at], "".join(parts[at:])) for at in range(first, len(parts)))


def _may_follow(before: str, last: str) -> bool:
    return last in _LAST or last.isdigit() or (last in _OWNERS_LAST and before != "mobile")


def _is_personal_end(before: list[str], end: str) -> bool:
    """In the singular or the plural."""
    if end.endswith("s"):
        return any(_is_singular_end(before, end.removesuffix(plural)) for plural in ("", "s", "es"))
    return _is_singular_end(before, end)


def _is_singular_end(before: list[str], end: str) -> bool:
    if end not in _ORDINARY:
        return end in PII_FIELDS
    if not before:
        return end in PII_FIELDS
    return before[-1] in _OWNERS and not (end == "name" and before[-1] in _NOT_NAMED)
