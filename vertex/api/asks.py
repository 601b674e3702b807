"""A request for slates: placements, visitor, deadline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.core.context import NO_CONTEXT, Context
from pipeline.core.expressions.fields import Scalar
from pipeline.core.profile import UserProfile
from vertex.api.cursor import NOTHING_SHOWN, Hashes
from vertex.api.deadline import NO_DEADLINE, Deadline
from vertex.api.placements import Placement
from vertex.candidates import Allowed


@dataclass(frozen=True)
class Ask:
    """One placement that is asked for.

    Attributes:
        placement: what is recommended.
        k: how many.
        product_id: the item of the page.
        seeds: the items that the page is about, `product_id` among them.
        exclude: items that are not shown.
        shown: hashes of the items that the feed has shown.
        explain: whether the grounds of each item are wanted.
        accepted: the items that the request's own filter accepts; None where it has none.
    """

    placement: Placement
    k: int
    product_id: str | None = None
    seeds: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shown: Hashes = field(default_factory=lambda: NOTHING_SHOWN)
    explain: bool = False
    accepted: Allowed | None = None


@dataclass(frozen=True)
class Asker:
    """The visitor who asks, and the moment.

    Attributes:
        profile: of the visitor; an empty one for `is_anybody`.
        now_ms: the moment to answer for.
        scalars: what filters and rules may ask of visitor and context.
        is_anybody: shown is what everybody sees: the visitor denied personalization, is in that
            half of an experiment, or could not be read.
        unread: why the visitor could not be read; empty when they could.
        context: the circumstances, for the ranking.
        deadline: by when they are answered.
    """

    profile: UserProfile
    now_ms: int
    scalars: Mapping[str, Scalar]
    is_anybody: bool = False
    unread: str = ""
    context: Context = NO_CONTEXT
    deadline: Deadline = NO_DEADLINE
