"""Test-then-learn evaluation over a stream of events: which views to ask about, baselines,
scores."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest

from tests.simulator.browser import WireEvent

K = 20
PENDING = 10
METHODS = ("freshet", "popular", "covisit", "category", "recent")


def eligible(events: Sequence[WireEvent]) -> list[int]:
    """Indices of the views that are not the first of their session."""
    seen: set[str] = set()
    found = []
    for index, event in enumerate(events):
        session = event.get("session_id")
        if session is None or event["event"] != "view_product":
            continue
        if session in seen:
            found.append(index)
        seen.add(session)
    return found


def sample(indices: Sequence[int], wanted: int) -> set[int]:
    """`wanted` of the indices, evenly spread; all of them where there are no more."""
    if wanted >= len(indices):
        return set(indices)
    return {indices[number * len(indices) // wanted] for number in range(wanted)}


@dataclass(slots=True)
class Past:
    """What the baselines know: the catalog, and the events before the question.

    Args:
        categories: category of each item of the catalog.
    """

    categories: Mapping[str, str]
    shelves: dict[str, list[str]] = field(init=False)
    views: Counter[str] = field(default_factory=Counter)
    together: dict[str, Counter[str]] = field(default_factory=dict)
    # items in order of their last event
    sessions: dict[str, list[str]] = field(default_factory=dict)
    events: dict[str, deque[WireEvent]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shelves = {}
        for item, category in self.categories.items():
            self.shelves.setdefault(category, []).append(item)

    def add(self, event: WireEvent) -> None:
        """Learn one event."""
        item, session = event["product_id"], event.get("session_id")
        if event["event"] == "view_product":
            self.views[item] += 1
        if session is None:
            return
        self.events.setdefault(session, deque(maxlen=PENDING)).append(event)
        items = self.sessions.setdefault(session, [])
        if item in items:
            items.remove(item)
        else:  # each pair counts once a session
            for other in items:
                self.together.setdefault(item, Counter())[other] += 1
                self.together.setdefault(other, Counter())[item] += 1
        items.append(item)

    def popular(self) -> list[str]:
        """The 20 items viewed most, the earlier seen first among equals."""
        return [item for item, _ in self.views.most_common(K)]

    def covisit(self, session: str) -> list[str]:
        """The 20 items that shared most sessions with the session's last item."""
        last = self.sessions[session][-1]
        return [item for item, _ in self.together.get(last, Counter()).most_common(K)]

    def category(self, session: str) -> list[str]:
        """The last item's category, its items viewed most first: what the catalog alone tells."""
        shelf = self.shelves.get(self.categories.get(self.sessions[session][-1], ""), [])
        return nsmallest(K, shelf, key=lambda item: (-self.views[item], item))

    def recent(self, session: str) -> list[str]:
        """The session's own items, the last first."""
        return self.sessions[session][: -K - 1 : -1]


@dataclass(slots=True)
class Score:
    """Hit rate and mean reciprocal rank at 20 of several methods over the same questions."""

    questions: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    reciprocal: dict[str, float] = field(default_factory=dict)

    def add(self, target: str, answers: Mapping[str, Sequence[str]]) -> None:
        """Score one question."""
        self.questions += 1
        for method, answer in answers.items():
            top = list(answer[:K])
            if target in top:
                self.hits[method] += 1
                rank = top.index(target) + 1
                self.reciprocal[method] = self.reciprocal.get(method, 0.0) + 1 / rank

    def hit_rate(self) -> dict[str, float]:
        """Share of the questions whose item was among the 20, by method."""
        return {method: round(self.hits[method] / max(1, self.questions), 4) for method in METHODS}

    def mrr(self) -> dict[str, float]:
        """Mean of 1 / rank, 0 beyond 20, by method."""
        return {
            method: round(self.reciprocal.get(method, 0.0) / max(1, self.questions), 4)
            for method in METHODS
        }
