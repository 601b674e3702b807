"""Slates of the log: who asked when, what was shown, what was clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.events import Event

CLICKED = frozenset({"click", "view_product"})


@dataclass(frozen=True, slots=True)
class LoggedSlate:
    """One question to the ranker: who asked (any event of theirs), when, what was shown, what was
    clicked.
    """

    time_ms: int
    asked_by: Event
    items: tuple[str, ...]
    positions: tuple[int, ...] | None
    clicked: frozenset[str]


def logged_slates(events: Sequence[Event]) -> list[LoggedSlate]:
    """The slates that impressions report, in order of time.

    All items of one `request_id` are one slate. It counts as asked for at the first event that
    names it, so that no click on it is among its own features. An item is clicked when a click, or
    a view, names both.
    """
    shown: dict[str, list[Event]] = {}
    clicked: dict[str, set[str]] = {}
    asked_ms: dict[str, int] = {}
    for event in events:
        request = event.text("request_id")
        if not request or event.product_id is None:
            continue
        asked_ms[request] = min(event.time_ms, asked_ms.get(request, event.time_ms))
        if event.event == "impression":
            shown.setdefault(request, []).append(event)
        elif event.event in CLICKED:
            clicked.setdefault(request, set()).add(event.product_id)
    slates = [
        _slate(impressions, asked_ms[request], clicked.get(request, set()))
        for request, impressions in shown.items()
    ]
    return sorted(slates, key=lambda slate: (slate.time_ms, slate.asked_by.event_id))


def viewed_slates(events: Sequence[Event]) -> list[LoggedSlate]:
    """One slate for each view that is not its session's first, without items yet: `examples` draws
    those.
    """
    started: set[tuple[str | None, str | None, str | None]] = set()
    slates = []
    for event in events:
        if event.event != "view_product" or event.product_id is None:
            continue
        session = (
            event.user_id,
            event.anonymous_id if event.user_id is None else None,
            event.session_id,
        )
        if session in started:
            slates.append(
                LoggedSlate(event.time_ms, event, (), None, frozenset({event.product_id}))
            )
        started.add(session)
    return slates


def _slate(impressions: Sequence[Event], asked_ms: int, clicked: set[str]) -> LoggedSlate:
    by_item: dict[str, Event] = {}
    for event in impressions:
        by_item.setdefault(event.product_id or "", event)
    shown = sorted(by_item.values(), key=lambda event: (event.number("position"), event.event_id))
    return LoggedSlate(
        asked_ms,
        impressions[0],
        tuple(event.product_id or "" for event in shown),
        tuple(int(event.number("position")) for event in shown),
        frozenset(clicked),
    )
