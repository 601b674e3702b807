"""The definition in contract.py, computed from all of a visitor's events at once: no state, no
order, no engine.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import fsum, isclose
from pathlib import Path

from tests.bench.engines.contract import (
    EVENT_NAMES,
    HALF_LIVES,
    INTEREST_WEIGHTS,
    WINDOWS,
    Event,
    Features,
)

TOLERANCE = 1e-9  # relative and absolute, of an interest; all else is exact

Answer = dict[str, Features]


def expected(messages: Iterable[str]) -> Answer:
    """Every visitor's features after `messages`, by user id."""
    distinct: defaultdict[str, dict[str, Event]] = defaultdict(dict)
    for message in messages:
        for event in json.loads(message):
            distinct[event["user_id"]][event["event_id"]] = event
    return {
        user_id: _features(user_id, list(events.values())) for user_id, events in distinct.items()
    }


def read_answer(sink: Path) -> Answer:
    """What an engine wrote to the file `sink`, or to the files under it; ValueError for a visitor
    that came twice.
    """
    files = [sink] if sink.is_file() else sorted(path for path in sink.rglob("*") if path.is_file())
    answer: Answer = {}
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
            features: Features = json.loads(line)
            if features["user_id"] in answer:
                raise ValueError(
                    f"user_id: expected once in the answer, got {features['user_id']} twice"
                )
            answer[features["user_id"]] = features
    return answer


def differences(right: Answer, answer: Answer) -> list[str]:
    """One line for each visitor in whom `answer` is not `right`: what differs first."""
    found = []
    for user_id in sorted(right.keys() | answer.keys()):
        if user_id not in answer or user_id not in right:
            found.append(f"{user_id}: {'missing' if user_id in right else 'unknown'}")
        elif difference := _difference(right[user_id], answer[user_id]):
            found.append(f"{user_id}: {difference}")
    return found


def _features(user_id: str, events: Sequence[Event]) -> Features:
    now_ms = max(event["time_ms"] for event in events)
    return Features(
        user_id=user_id,
        now_ms=now_ms,
        windows={
            name: _counts(events, (now_ms - length_ms) // width_ms, width_ms)
            for name, (length_ms, width_ms) in WINDOWS.items()
        },
        category={
            name: _interest([(e["category"], e) for e in events], now_ms, h)
            for name, h in HALF_LIVES.items()
        },
        brand={
            name: _interest([(e["brand"], e) for e in events if e["brand"]], now_ms, h)
            for name, h in HALF_LIVES.items()
        },
    )


def _counts(events: Iterable[Event], first_bucket: int, width_ms: int) -> list[int]:
    names = [event["event"] for event in events if event["time_ms"] // width_ms >= first_bucket]
    return [names.count(name) for name in EVENT_NAMES]


def _interest(
    events: Iterable[tuple[str, Event]], now_ms: int, half_life_ms: int
) -> dict[str, float]:
    terms: defaultdict[str, list[float]] = defaultdict(list)
    for key, event in events:
        weight = INTEREST_WEIGHTS.get(event["event"], 0.0)
        terms[key].append(weight * 2.0 ** ((event["time_ms"] - now_ms) / half_life_ms))
    return {key: fsum(values) for key, values in terms.items()}


def _difference(right: Features, answer: Features) -> str:
    if right["now_ms"] != answer["now_ms"]:
        return f"now_ms {answer['now_ms']}, expected {right['now_ms']}"
    for name in WINDOWS:
        if right["windows"][name] != answer["windows"][name]:
            return f"window {name} {answer['windows'][name]}, expected {right['windows'][name]}"
    for kind in ("category", "brand"):
        for name in HALF_LIVES:
            want, have = right[kind][name], answer[kind][name]
            for key in sorted(want.keys() | have.keys()):
                one, other = want.get(key, 0.0), have.get(key, 0.0)
                if not isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                    return f"{kind} interest {name} in {key} {other}, expected {one}"
    return ""
