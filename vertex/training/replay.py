"""The past, replayed: what serving would have known at a moment, folded by the code that serves.

Training could compute features in SQL, fast and subtly different. It folds the log through the very monoids
of the pipeline instead, in order of event time, and reads them where serving would have read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.core.catalog import Item, stub_item
from pipeline.core.events import Event, profile_key
from pipeline.core.features import RECENT_SEEDS
from pipeline.core.fold import category_of, fold
from pipeline.core.items import MAX_NEIGHBOURS_KEPT, ItemRow, ItemStats, RatePriors, rate_priors
from pipeline.core.profile import UserProfile

PRIORS_EVERY = 2_000  # events; fitting reads every item


class World:
    """Profiles, item stats and items after some events; the state that the pipeline would hold in Bigtable.

    Args:
        catalog: what is known of the items. The log does not say what a price was earlier, so all of the
            past is seen with the catalog of today.
    """

    def __init__(self, catalog: Mapping[str, Item]) -> None:
        self.profiles: dict[str, UserProfile] = {}
        self.stats: dict[str, ItemStats] = {}
        self._items = dict(catalog)
        self._priors, self._priors_at = RatePriors(), 0
        self._added = 0

    def add(self, event: Event) -> None:
        """Fold one event as the pipeline does; a duplicate changes nothing."""
        key = profile_key(event)
        profile = self.profiles.get(key)
        if profile is None:
            profile = self.profiles[key] = UserProfile()
        new, pairs = fold(profile, [(event, self._items.get(event.product_id or ""))])
        if not new:
            return
        self._added += 1
        if event.product_id is not None:
            self._add_to_items(event, event.product_id)
        for pair in pairs:
            for one, two in ((pair.item, pair.other), (pair.other, pair.item)):
                stats = self._touched(one)
                stats.link(two, pair.kind, pair.weight, pair.time_ms)
                stats.neighbour_weights.keep_largest(MAX_NEIGHBOURS_KEPT)

    def profile(self, event: Event) -> UserProfile:
        """What serving would read for the event's visitor: the account's profile, the device's merged in."""
        profile = self.profiles.get(profile_key(event), UserProfile())
        device = self.profiles.get(f"a#{event.anonymous_id}") if event.user_id else None
        if device is not None:
            profile = profile.copy()
            profile.merge(device)
        profile.settle()
        return profile

    def rows(self, item_ids: Iterable[str]) -> list[ItemRow]:
        """The items as serving would read them; unknown ones are stubs without a history."""
        return [ItemRow(self.item(item_id), self.stats.get(item_id) or ItemStats()) for item_id in item_ids]

    def item(self, item_id: str) -> Item:
        """What is known of an item; a stub when that is nothing."""
        return self._items.get(item_id) or Item(item_id, stub=True)

    def seeds(self, profile: UserProfile, now_ms: int) -> dict[str, ItemStats]:
        """The stats of the items that the visitor touched last or has in the cart."""
        recent = (item_id for item_id, _ in profile.recent_items(now_ms, RECENT_SEEDS))
        return {item_id: self.stats[item_id] for item_id in (*recent, *profile.in_cart()) if item_id in self.stats}

    def priors(self, now_ms: int) -> RatePriors:
        """The priors of the items' rates, as serving would have fitted them lately."""
        if self._added >= self._priors_at:
            self._priors, self._priors_at = rate_priors(self.rows(self.stats), now_ms), self._added + PRIORS_EVERY
        return self._priors

    def _add_to_items(self, event: Event, product_id: str) -> None:
        item = self._items.get(product_id)
        if item is None:
            item = self._items[product_id] = stub_item(event)
        self._touched(product_id).add(event, category_of((event, item)))

    def _touched(self, item_id: str) -> ItemStats:
        stats = self.stats.get(item_id)
        if stats is None:
            stats = self.stats[item_id] = ItemStats()
        return stats
