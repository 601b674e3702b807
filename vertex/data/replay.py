"""The past, replayed: what serving would have known at a moment, folded by the code that serves.

Training could compute features in SQL, fast and subtly different. It folds the log through the very
monoids of the pipeline instead, in order of event time, and reads them where serving would have
read them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from pipeline.core.catalog import Item, stub_item
from pipeline.core.columns import Rows
from pipeline.core.events import Event
from pipeline.core.features.moment import RECENT_SEEDS, Moment
from pipeline.core.fold import Links, Pair, add_links, adopt, catalog_category, fold
from pipeline.core.item_columns import ItemColumns, Seed
from pipeline.core.items import ItemRow, ItemStats
from pipeline.core.profile import UserProfile
from pipeline.core.profile_keys import browser_key, profile_key
from pipeline.core.rate_priors import RatePriors, fitted_priors
from pipeline.core.text_vectors import TextEncoder, encode_waiting
from pipeline.core.vectors import VectorIndex

# Fitting the priors reads every item: it is done again when the log has grown by a tenth, within
# these bounds (events).
PRIORS_AFTER_LEAST, PRIORS_AFTER_MOST = 20, 2_000
# A bound on memory: some 20 MB.
MAX_PAIRS_WAITING = 100_000


def in_order(events: Iterable[Event]) -> list[Event]:
    """The events by time and id, each of a visitor's once."""
    ordered = sorted(events, key=lambda event: (event.time_ms, event.event_id))
    return list({(profile_key(event), event.identity): event for event in ordered}.values())


class World:
    """Profiles, item stats and items after some events; the state that the pipeline would hold in
    Bigtable.

    Links between items wait until one of them is read, and are then added all at once, as in a
    bundle of the pipeline.

    Args:
        catalog: what is known of the items. The log does not say what a price was earlier, so all
            of the past is seen with the catalog of today.
        max_pairs_waiting: so many pairs of items wait at most.
        encoder: of the items' texts, as serving has one; without it they have no vectors.

    Attributes:
        has_catalog: whether it holds any item that is no stub.
        columns: the items that events name, as serving has them in memory; `rows` brings those up
            to date that it is asked for.
    """

    def __init__(
        self,
        catalog: Mapping[str, Item],
        max_pairs_waiting: int = MAX_PAIRS_WAITING,
        encoder: TextEncoder | None = None,
    ) -> None:
        self._encoder = encoder
        self.profiles: dict[str, UserProfile] = {}
        self._stats: defaultdict[str, ItemStats] = defaultdict(ItemStats)
        self._links: Links = defaultdict(list)
        self._pairs_waiting, self._max_pairs_waiting = 0, max_pairs_waiting
        self._items = dict(catalog)
        self.has_catalog = any(not item.stub for item in catalog.values())
        self.columns = ItemColumns()
        self._unwritten: set[str] = set()  # items whose columns lag behind
        self._uncounted: set[str] = set()  # those whose counts do
        self._priors, self._priors_at = RatePriors(), 0
        self._added = 0

    def add(self, event: Event) -> None:
        """Fold one event as the pipeline does; a duplicate changes nothing."""
        self._move(event)
        profile = self._profile(self._key(event))
        item = self._items.get(event.product_id or "")
        new, pairs, _ = fold(
            profile, [(event, item if item is not None and not item.stub else None)]
        )
        if not new:
            return
        profile.settle()
        self._added += 1
        if event.product_id is not None:
            self._add_to_items(event, event.product_id)
        self._link(pairs)

    def profile(self, event: Event) -> UserProfile:
        """The profile that serving would read for the event's visitor: the account's, the device's
        merged in.
        """
        profile = self.profiles.get(self._key(event)) or UserProfile()
        device = (
            self.profiles.get(browser_key(event.anonymous_id))
            if event.user_id and event.anonymous_id
            else None
        )
        if device is not None and not device.account:
            profile = profile.copy()
            profile.merge(device)
        return profile

    def rows(self, item_ids: Iterable[str]) -> Rows:
        """The rows of the items in `columns`, as serving would have them; unknown ones are stubs
        without a history.
        """
        ids = list(item_ids)
        for item_id in ids:
            stats = self.stats(item_id)
            if item_id in self._unwritten or item_id not in self.columns:
                self.columns.put(ItemRow(self.item(item_id), stats or ItemStats()))
                self._unwritten.discard(item_id)
                self._uncounted.discard(item_id)
        self._encode_texts()
        return self.columns.rows(ids)

    def stats(self, item_id: str) -> ItemStats | None:
        """Statistics of the item; None where no event names it."""
        links = self._links.pop(item_id, None)
        if links is not None:
            self._stats[item_id].link_all(links)
            self._stats[item_id].settle()
            self._unwritten.add(item_id)
        return self._stats.get(item_id)

    def log2_popularity(self, item_id: str) -> float | None:
        """The item's popularity (`ItemStats.log2_popularity`), for which no link has to be
        added."""
        return self._stats[item_id].log2_popularity() if item_id in self._stats else None

    def item_ids(self) -> list[str]:
        """The items that events name."""
        return list(self._stats)

    def item(self, item_id: str) -> Item:
        """The item of the catalog; a stub when it has none."""
        return self._items.get(item_id) or Item(item_id, stub=True)

    def moment(self, asked_by: Event, vectors: VectorIndex, now_ms: int) -> Moment:
        """The visitor of an event at `now_ms`, among the items, as serving would have them."""
        self.columns.use_vectors(vectors)
        self._encode_texts()
        profile = self.profile(asked_by)
        return Moment(profile, self.columns, now_ms, self._seeds(profile, now_ms))

    def _seeds(self, profile: UserProfile, now_ms: int) -> dict[str, Seed]:
        """The seeds of the items that the visitor touched last or has in the cart."""
        recent = (item_id for item_id, _ in profile.recent_items(now_ms, RECENT_SEEDS))
        seeds = {}
        for item_id in {*recent, *profile.in_cart()}:
            stats = self.stats(item_id)
            if stats is not None:
                seeds[item_id] = Seed(stats)
        return seeds

    def priors(self) -> RatePriors:
        """The priors of the items' rates, as serving would have fitted them lately."""
        if self._added >= self._priors_at:
            self._write_counts()
            self._priors = fitted_priors(self.columns)
            pause = min(max(self._added // 10, PRIORS_AFTER_LEAST), PRIORS_AFTER_MOST)
            self._priors_at = self._added + pause
        return self._priors

    def _encode_texts(self) -> None:
        if self._encoder is not None:
            encode_waiting(self.columns.text, self._encoder)

    def _write_counts(self) -> None:
        """Bring all columns of counts up to date: rates are of counts alone, so links may wait."""
        for item_id in self._uncounted:
            self.columns.put_counts(self.columns.row(item_id), self._stats[item_id])
        self._uncounted.clear()

    def _key(self, event: Event) -> str:
        """The profile that an event goes to: the account it names, else the one its browser was
        merged into.
        """
        key = profile_key(event)
        found = self.profiles.get(key)
        return found.account if found is not None and found.account else key

    def _move(self, event: Event) -> None:
        """The first event that names both merges the browser into the account, once."""
        if event.user_id is None or event.anonymous_id is None:
            return
        browser = self._profile(browser_key(event.anonymous_id))
        if browser.account:
            return
        account = self._profile(profile_key(event))
        self._link(adopt(account, browser).pairs)
        self.profiles[browser_key(event.anonymous_id)] = UserProfile(
            newest_ms=browser.newest_ms, account=profile_key(event)
        )

    def _profile(self, key: str) -> UserProfile:
        profile = self.profiles.get(key)
        if profile is None:
            profile = self.profiles[key] = UserProfile()
        return profile

    def _add_to_items(self, event: Event, product_id: str) -> None:
        item = self._items.get(product_id)
        if item is None:
            item = self._items[product_id] = stub_item(event)
        if product_id not in self.columns:
            self.columns.put(ItemRow(item, ItemStats()))
        self._stats[product_id].add(event, catalog_category((event, None if item.stub else item)))
        self._unwritten.add(product_id)
        self._uncounted.add(product_id)

    def _link(self, pairs: list[Pair]) -> None:
        add_links(self._links, pairs)
        self._pairs_waiting += len(pairs)
        if self._pairs_waiting >= self._max_pairs_waiting:
            self._pairs_waiting = 0
            for item_id in list(self._links):
                self.stats(item_id)
