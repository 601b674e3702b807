"""The collector's time for an event, and that of each step of privacy and enrichment, on one core.

Processor time. An event of the native protocol is read typed; beside it stands the same event read
as an object, which is how the events of vendors and those with fields of their own go.

Best of `REPEATS` runs over events that are made anew for each; `python -m tests.bench steps` prints
the rows.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from functions.accept import Terms, sort_events
from functions.enrich.bots import bot_reason
from functions.enrich.context import enrich_event, merge, request_context
from functions.enrich.user_agents import UserAgents
from functions.protocols.contract import Reading, Translated
from functions.protocols.native.protocol import read_batch
from pipeline.core.context import country_code
from pipeline.core.events import WireEvent
from pipeline.core.experiments import Experiment, Units, Variant
from pipeline.core.privacy.consent import record, resolve_consent
from pipeline.core.privacy.field_policy import FieldPolicy
from pipeline.core.privacy.policy import Privacy
from pipeline.core.untrusted_json import read as read_json
from tests.bench.payloads import BROWSER_HEADERS, native
from tests.bench.rows import Row, row

EVENTS, BATCH, TEXTS, REPEATS = 2_000, 20, 20, 9
NESTED = {name: {"a": 1, "b": "text", "c": [1, 2]} for name in ("context", "device", "screen")}
URL = "https://shop.example/p/1"
CAMPAIGN = f"{URL}?utm_source=news&utm_medium=mail&utm_campaign=spring&gclid=abc"
REFERRER = "https://www.google.com/"
PERSONAL = FieldPolicy(drop=("pii",), hash=("user_id",), key=b"k" * 16)

EXPERIMENT = Experiment("order", (Variant("control", 5_000), Variant("cheap", 5_000)))
VISITOR = Units("0b4f2a4e-1d7c-4f7b-9f61-1d1b6a3c5a10")

Metadata = dict[str, Any]


def run() -> list[Row]:
    """Rows in microseconds; takes a few seconds."""
    usual, agents = Privacy(), UserAgents()
    agent, language = BROWSER_HEADERS["user-agent"], BROWSER_HEADERS["accept-language"]
    context = request_context(agent, language, None, agents)
    plain, nested = {"price": 9.5}, {"price": 9.5, **NESTED}
    return [
        _typed_row(agents, context),
        _row("privacy_of_an_event", _private(usual), _wires(plain)),
        _row("privacy_of_three_nested_objects", _private(usual), _wires(nested)),
        _row(
            "privacy_with_pii_and_a_hashed_user", _private(Privacy(fields=PERSONAL)), _wires(nested)
        ),
        _row("signals_of_a_request", lambda _: usual.signal(BROWSER_HEADERS)),
        _row("context_of_a_request", lambda _: request_context(agent, language, None, agents)),
        _row("bot_or_not", lambda _: bot_reason(agent, BROWSER_HEADERS, agents)),
        _row("experiment_assignment", lambda _: EXPERIMENT.variant_of(VISITOR)),
        _row("country_by_header", lambda _: country_code("AT")),
        _row(
            "merging_the_context", lambda metadata: merge(context, metadata, agents), _copies(plain)
        ),
        _row("address_without_a_query", enrich_event, _copies({"url": URL})),
        _row("address_with_a_referrer", enrich_event, _copies({"url": URL, "referrer": REFERRER})),
        _row(
            "address_with_a_campaign",
            enrich_event,
            _copies({"url": CAMPAIGN, "referrer": REFERRER}),
        ),
        _row(
            "user_agent_never_seen",
            _unseen,
            lambda: [f"{agent} Edg/{next(_number)}" for _ in range(TEXTS)],
        ),
        _row(
            "user_agent_of_noise",
            _unseen,
            lambda: [f"{next(_number)} x(;/" * 51 for _ in range(TEXTS)],
        ),
    ]


def _typed_row(agents: UserAgents, context: dict[str, str]) -> Row:
    """The two ways in turns, on batches of `BATCH`."""
    accept = _accepted(Terms(agents=agents, context=context))
    bodies = [request.partition(b"\r\n\r\n")[2] for request in native(BATCH)[: EVENTS // BATCH]]
    typed, untyped = [], []
    for _ in range(REPEATS):
        typed.append(_once(lambda body: accept(read_batch(body)), bodies))
        untyped.append(_once(lambda body: accept(_read_untyped(body)), bodies))
    beside = min(untyped) / BATCH
    return row("step_event_read_typed", min(typed) / BATCH, "us", None, "read as an object", beside)


def _accepted(terms: Terms) -> Callable[[Reading], None]:
    def step(reading: Reading) -> None:
        found = sort_events(reading, datetime.now(UTC), terms)
        if found.accepted != len(reading.events):
            raise RuntimeError(f"expected {len(reading.events)} accepted events, got {found}")

    return step


def _read_untyped(body: bytes) -> Reading:
    return Reading([_untyped(bytes(event)) for event in _batches.decode(body).events])


def _untyped(payload: bytes) -> Translated:
    return Translated(payload, (read_json(payload),))


class _Batch(msgspec.Struct):
    events: list[msgspec.Raw]


_batches = msgspec.json.Decoder(_Batch)
_number = itertools.count()
_unlimited = UserAgents(busy_share=1.0, burst_s=1e9)


def _unseen(text: str) -> None:
    _unlimited.of(text[:512])


def _private(privacy: Privacy) -> Callable[[WireEvent], None]:
    def step(wire: WireEvent) -> None:
        consent = resolve_consent({"metadata": wire.metadata}, None, None, privacy.default)
        privacy.fields.apply_wire(wire)
        record(wire.metadata, consent)

    return step


def _wires(metadata: Metadata) -> Callable[[], list[WireEvent]]:
    now = datetime.now(UTC)
    return lambda: [
        WireEvent("e1", "click", now, "u1", metadata=copy.deepcopy(metadata)) for _ in range(EVENTS)
    ]


def _copies(metadata: Metadata) -> Callable[[], list[Metadata]]:
    return lambda: [dict(metadata) for _ in range(EVENTS)]


def _row(
    name: str,
    step: Callable[[Any], Any],
    inputs: Callable[[], Iterable[Any]] = lambda: range(EVENTS),
) -> Row:
    best = min(_once(step, list(inputs())) for _ in range(REPEATS))
    return row(f"step_{name}", best, "us")


def _once(step: Callable[[Any], Any], inputs: list[Any]) -> float:
    """Microseconds of processor time for one of them."""
    began = time.process_time()
    for one in inputs:
        step(one)
    return (time.process_time() - began) / len(inputs) * 1e6
