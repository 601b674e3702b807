"""What a visitor agreed to: by the event, by the request, by the browser's signals, else by the installation's default.

    Sec-GPC: 1  >  consent of the event  >  consent of the request  >  DNT: 1  >  the default

Of each of the two questions by itself the first that answers it counts: an event that says nothing of personalization
leaves it to its request.

Global Privacy Control binds in law in some places (California's CCPA regulations, section 7025, is one), so it goes
first, whatever a banner was answered. Do Not Track never became a standard and says what a browser was once set to; an
answer that the visitor gave this site is later and about this site, so it goes before. `FRESHET_SIGNALS=ignore` looks
at neither. Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from functions.field_policy import FieldPolicy
from functions.invalid import InvalidConfig
from functions.secret_keys import secret_key
from pipeline.core.consent import DENIED, FIELD, GRANTED, Consent
from pipeline.core.events import InvalidEvent

DEFAULTS = {"": GRANTED, "granted": GRANTED, "denied": DENIED}
SIGNALS = {"": True, "honour": True, "ignore": False}


class Signal(Enum):
    """What a browser says for its visitor with every request, by its header; the one that binds first."""

    GPC = "sec-gpc"
    DNT = "dnt"


class Stated(msgspec.Struct, frozen=True):
    """A consent as it stands in an event or a request; of what it does not name, or names null, it says nothing."""

    analytics: bool | None = None
    personalization: bool | None = None


def signalled(headers: Mapping[str, str]) -> Signal | None:
    """The signal of a request, of two the one that binds; None where there is none.

    Args:
        headers: lower-case names. Only the value 1 is a signal (W3C Global Privacy Control, the Sec-GPC header field);
            of several with commas between any.
    """
    return next((signal for signal in Signal if _is_sent(headers.get(signal.value))), None)


def _is_sent(value: str | None) -> bool:
    return value is not None and (value == "1" or "1" in map(str.strip, value.split(",")))


def event_consent(
    fields: Mapping[str, Any], batch_consent: Any, signal: Signal | None, default: Consent = GRANTED
) -> Consent:
    """What the visitor of an event agreed to; see the module for what goes before what.

    Args:
        fields: the event as the client wrote it. It states its consent as `consent` or as `metadata.consent`; where
            it has both, only what both grant is granted.
        batch_consent: of the whole request, unchecked; None where it has none.
        signal: of `signalled`.
        default: what holds where nobody says anything.

    Raises:
        InvalidEvent: field `consent`, when one that is looked at cannot be read: the event's own, and the request's
            where the event's leaves a question open.
    """
    metadata = fields.get("metadata")
    inner = metadata.get(FIELD) if type(metadata) is dict else None
    return _consent(fields.get(FIELD), inner, batch_consent, signal, default)


def wire_consent(
    metadata: Mapping[str, Any], batch_consent: Any, signal: Signal | None, default: Consent = GRANTED
) -> Consent:
    """`event_consent`, of an event that was read already and holds nothing beside the contract's fields."""
    return _consent(None, metadata.get(FIELD), batch_consent, signal, default)


def unread_consent(
    fields: Mapping[str, Any], batch_consent: Any, signal: Signal | None, default: Consent = GRANTED
) -> Consent:
    """What holds of an event whose own or whose request's consent cannot be read.

    It is told what is wrong, so it is never as one that was withheld; and it may go into the dead letter only where no
    signal, no default and nothing that can be read of either is against analytics. Replayed from there it personalizes
    nothing, unless it says by then that it may.
    """
    metadata = fields.get("metadata")
    stated = (batch_consent, fields.get(FIELD), metadata.get(FIELD) if type(metadata) is dict else None)
    denied = any(isinstance(one, dict) and one.get("analytics") not in (None, True) for one in stated)
    analytics = signal is None and default.analytics and not denied
    return Consent(analytics, personalization=not analytics)


def unreadable_consent(text: bytes, signal: Signal | None, default: Consent = GRANTED) -> Consent:
    """What holds of a request of which no event can be read, only its text searched.

    A question is denied where a signal or the default denies it, and where the text anywhere says no to it in words
    like ours, `"analytics": false` or `consent.analytics=0`: for whom, nobody can tell any more.
    """
    if signal is not None:
        return DENIED
    if text.count(rb"\u00") > _MAX_ESCAPES:
        return DENIED
    texts = [text, unquote_to_bytes(text[:_MAX_QUOTED_BYTES])] if b"%" in text else [text]
    texts = [(_ESCAPED.sub(_unescaped, one) if rb"\u00" in one else one).lower() for one in texts]
    denied = {name for name in _SAYS_NO if any(_says_no(name, one) for one in texts)}
    return Consent(
        default.analytics and "analytics" not in denied, default.personalization and "personalization" not in denied
    )


def _says_no(name: str, text: bytes) -> bool:
    """Where a word stands more often than any request of ours says it, it is taken for a no and not searched for."""
    return text.count(name.encode()) > _MAX_MENTIONS or _SAYS_NO[name].search(text) is not None


_MAX_QUOTED_BYTES = 64 * 1024
"""More than a query can have; to undo the quoting of a whole body would hold up all other requests."""
_MAX_ESCAPES = 20_000
"""More than this, to be undone, would hold up all other requests: it is taken for a no."""
_ESCAPED = re.compile(rb"(?<!\\)\\++u00([2-7][0-9a-fA-F])")
"""A character of ASCII as JSON may write it, also in a text within a text."""
_MAX_MENTIONS = 2000
_SAYS_NO = {
    # The word first and then what stands before it: a search for a fixed text takes a tenth of the time.
    name: re.compile(
        rb"%b(?<![a-z0-9_]%b)[\\\"']{0,4}\s{0,9}[:=]\s{0,9}[\\\"']{0,4}(?:false|0|no|denied)(?![a-z0-9_.])"
        % (name.encode(), name.encode())
    )
    for name in ("analytics", "personalization")
}


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode())


def record(metadata: dict[str, Any], consent: Consent, batch_consent: Any = None) -> None:
    """Write the consent into the metadata of an accepted event, where it was stated or is not full.

    After the event is read and has its id: what is derived from the content is not to depend on what the request said.
    """
    if FIELD not in metadata and batch_consent is None and consent.is_full:
        return
    if not consent.is_full or _says_anything(metadata.get(FIELD)) or _says_anything(batch_consent):
        metadata[FIELD] = {"analytics": consent.analytics, "personalization": consent.personalization}
    else:
        metadata.pop(FIELD, None)  # `{}` and null: a default is no visitor's yes


def _says_anything(stated: Any) -> bool:
    return isinstance(stated, dict) and any(stated.get(name) is not None for name in Consent.__struct_fields__)


@dataclass(frozen=True, slots=True)
class Privacy:
    """What an installation promises its visitors.

    Attributes:
        default: for visitors who said nothing; denied where the law asks for an agreement first.
        signals: whether DNT and GPC are honoured.
        fields: what is cut, dropped and hashed.
        user_key: the secret, 16 to 64 bytes, of the tokens that prove user ids; None: nobody asks for them.
    """

    default: Consent = GRANTED
    signals: bool = True
    fields: FieldPolicy = field(default_factory=FieldPolicy)
    user_key: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Privacy:
        """Of `FRESHET_DEFAULT_CONSENT`, `FRESHET_SIGNALS`, `FRESHET_USER_KEY` and what `FieldPolicy.from_env` reads.

        Raises:
            InvalidConfig: naming the variable, and what was expected of it.
        """
        user_key = secret_key(environ, "FRESHET_USER_KEY")
        return cls(
            default=_one_of(environ, "FRESHET_DEFAULT_CONSENT", DEFAULTS),
            signals=_one_of(environ, "FRESHET_SIGNALS", SIGNALS),
            fields=FieldPolicy.from_env(environ, proves_users=user_key is not None),
            user_key=user_key,
        )

    def signal(self, headers: Mapping[str, str]) -> Signal | None:
        """`signalled`, where signals are honoured."""
        return signalled(headers) if self.signals else None


def _consent(outer: Any, inner: Any, batch: Any, signal: Signal | None, default: Consent) -> Consent:
    if signal is Signal.GPC:
        return DENIED
    last = default if signal is None else DENIED
    if outer is None and inner is None and batch is None:
        return last
    said = _stated(inner) if outer is None else _both(_stated(outer), _stated(inner))
    if said.analytics is None or said.personalization is None:
        said = _filled(said, _stated(batch))
    return Consent(
        last.analytics if said.analytics is None else said.analytics,
        last.personalization if said.personalization is None else said.personalization,
    )


def _stated(value: Any) -> Stated:
    """As it is said, also where it was read already (the API's).

    Who names other things alone has most likely misspelt it, and who denies must not be misread.
    """
    if value is None:
        return _SILENT
    try:
        stated = msgspec.convert(value, Stated)
    except msgspec.ValidationError:
        raise InvalidEvent(FIELD, _EXPECTED, value) from None
    if type(value) is dict and value and _QUESTIONS.isdisjoint(value):
        raise InvalidEvent(FIELD, _EXPECTED, value)
    return stated


_SILENT = Stated()
_QUESTIONS = frozenset(Stated.__struct_fields__)
_EXPECTED = 'expected {"analytics": true or false, "personalization": true or false}'


def _both(one: Stated, other: Stated) -> Stated:
    return Stated(_least(one.analytics, other.analytics), _least(one.personalization, other.personalization))


def _least(one: bool | None, other: bool | None) -> bool | None:
    """What both grant; of one that says nothing, the other's."""
    if one is None or other is None:
        return other if one is None else one
    return one and other


def _filled(first: Stated, then: Stated) -> Stated:
    if first is _SILENT:
        return then
    return Stated(
        then.analytics if first.analytics is None else first.analytics,
        then.personalization if first.personalization is None else first.personalization,
    )


def _one_of(environ: Mapping[str, str], key: str, known: Mapping[str, Any]) -> Any:
    word = environ.get(key, "").strip().lower()
    if word not in known:
        raise InvalidConfig(f"{key}: expected {' or '.join(filter(None, known))}, got {word!r}")
    return known[word]
