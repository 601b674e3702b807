"""Placements as experiments change them for who asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from pipeline.core.experiments import Assigned, Units
from pipeline.core.expressions.scalars import scalars_of
from pipeline.core.profile import UserProfile
from vertex.api.config import Config
from vertex.api.contract import VisitorRequest
from vertex.api.experiments_file import NO_TRIALS, Trials
from vertex.api.placements import Placement, Placements
from vertex.api.visitor import Visitor

R = TypeVar("R", bound=VisitorRequest)


class TriedPlacements:
    """Placements, and the experiments on them.

    Args:
        config: says who counts as proven.
        placements: as their file states them.
        trials: see `Trials`.
    """

    def __init__(self, config: Config, placements: Placements, trials: Trials = NO_TRIALS) -> None:
        self._config = config
        self._placements = placements
        self._trials = trials

    def tried(
        self, request: R, visitor: Visitor, names: Sequence[str]
    ) -> tuple[R, Sequence[Assigned]]:
        """The visitor's variants of the experiments that make a difference at one of these
        placements; the request asks for what is popular where one of them says so.
        """
        found = self.assigned(request, visitor)
        if not found:
            return request, found
        names = [self._placements.find(name).name for name in names]
        concerning = self._trials.concerning(names, found)
        if any(each.variant.is_popular for each in concerning):
            request = msgspec.structs.replace(request, variant="popular")
        return request, concerning

    def find(self, name: str, assigned: Sequence[Assigned]) -> Placement:
        """The placement of this name as the variants change it."""
        return self._trials.placement(self._placements.find(name), assigned)

    def assigned(self, request: VisitorRequest, visitor: Visitor) -> Sequence[Assigned]:
        """The variants of who asks; none for one who denied personalization, or where the request
        says itself what it shows.

        What a profile says decides only for those who are proven to be its visitor: the answer
        names the experiments, and so tells.
        """
        if self._trials.are_none or visitor.is_nobody or request.variant == "popular":
            return ()
        profile = visitor.profile if is_proven(self._config, request) else UserProfile()
        scalars = scalars_of(profile, request.context, visitor.now_ms)
        units = Units.of(request.user_id, request.anonymous_id, request.session_id)
        return self._trials.assigned(units, scalars, visitor.now_ms)

    def described(self, assigned: Sequence[Assigned]) -> dict[str, Any]:
        """The part of an answer that names the variants; empty without experiments."""
        if self._trials.are_none:
            return {}
        return {"experiments": [f"{each.experiment}={each.variant.name}" for each in assigned]}


def is_proven(config: Config, request: VisitorRequest) -> bool:
    """True where what the profile says may be shown to who asks."""
    has_proof = request.user_id is None or config.privacy.user_key is not None
    return has_proof or config.profile_view
