"""How large an installation has to be for a load, and what it costs a month: measured costs,
assumptions, list prices.

Pure arithmetic; `tests.bench.costs` measures, `tests.bench.scale` makes the tables of
docs/scale.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from pipeline.store.layout import CHANGE_SHARDS, QUERY_SHARDS
from tests.bench.costs import EVENTS_A_MESSAGE, SHARDS, Bundle, Costs
from vertex.api.catalog_changes import POLL_S

SCALES = (1_000, 10_000, 100_000, 1_000_000)  # events a second at the peak
SECONDS_A_MONTH = 30 * 86_400
HOURS_A_MONTH = SECONDS_A_MONTH / 3_600
GIB, TIB = 2.0**30, 2.0**40


@dataclass(frozen=True)
class Price:
    """A list price: dollars a unit, what the unit is, and the page that says it."""

    dollars: float
    unit: str
    page: str


# On demand, us-central1, in US dollars, as quoted in September 2026; to be checked on the pages
# before they are used.
PRICES = {
    "worker vCPU": Price(0.069, "vCPU-hour, streaming", "cloud.google.com/dataflow/pricing"),
    "worker memory": Price(0.003557, "GiB-hour, streaming", "cloud.google.com/dataflow/pricing"),
    "Streaming Engine": Price(
        0.018, "GiB of streaming data processed", "cloud.google.com/dataflow/pricing"
    ),
    "worker disk": Price(0.000054, "GiB-hour", "cloud.google.com/dataflow/pricing"),
    "Bigtable node": Price(0.65, "node-hour", "cloud.google.com/bigtable/pricing"),
    "Bigtable storage": Price(0.17, "GiB-month, SSD", "cloud.google.com/bigtable/pricing"),
    "Pub/Sub throughput": Price(
        40.0, "TiB published or delivered", "cloud.google.com/pubsub/pricing"
    ),
    "Pub/Sub retention": Price(
        0.27, "GiB-month of retained messages", "cloud.google.com/pubsub/pricing"
    ),
    "BigQuery inserts": Price(
        0.05, "GiB streamed, 1 kB a row at least", "cloud.google.com/bigquery/pricing"
    ),
    "BigQuery storage": Price(
        0.02, "GiB-month, changed within 90 days", "cloud.google.com/bigquery/pricing"
    ),
    "BigQuery old storage": Price(0.01, "GiB-month, older", "cloud.google.com/bigquery/pricing"),
}


@dataclass(frozen=True)
class Assumptions:
    """What is taken for granted; every field is a row of the document's table, its comment there as
    here.
    """

    bundle_messages: int = 10  # messages that a runner's bundle holds at the fold of profiles
    # what a Dataflow worker spends on a keyed element, in times of what FnApiRunner does
    harness_factor: float = 2.0
    utilisation: float = 0.6  # of workers and Bigtable nodes at the peak
    peak_share: float = 1 / 6  # of the month at the peak: four hours a day
    off_peak_load: float = 0.4  # of the peak's load, the rest of the time
    # of messages come to a browser's profile first and go on to its account
    forwarded_share: float = 0.15
    events_a_visitor_day: float = 200.0  # of a visitor who comes that day, impressions included
    visitors_kept: float = 6.0  # profiles kept for 90 days, in times of those who come in a day
    items: int = 100_000  # of the catalog, visited by Zipf's law
    scopes: int = 500  # categories that trend, and the whole shop
    queries: int = 100_000  # searched for, by Zipf's law
    public_share: float = 0.8  # of searches are for what others search for, too: they go on
    changes_a_day: float = 1.0  # of the catalog: each item is written so often
    answers_a_process: float = 50.0  # that a process of the API gives a second at the peak
    flush_s: float = 0.2  # a row is written at most once in so long
    requests_an_event: float = 0.05  # recommendations asked: one a message; each reads two profiles
    retention_days: float = 7.0  # Pub/Sub keeps topic and subscription for so long
    log_days: float = 400.0  # BigQuery keeps events for so long
    # 1 kB rows a second and SSD node, by cloud.google.com/bigtable/docs/performance
    node_writes: float = 14_000.0
    node_reads: float = 17_000.0  # likewise
    node_storage_gib: float = 3_500.0  # a node is given at most so much, 70 % of what it may hold
    worker_vcpus: int = 2  # n2-standard-2, as Terraform sets it
    worker_memory_gib: float = 8.0  # likewise
    worker_disk_gib: float = 30.0  # with Streaming Engine

    def mean_load(self) -> float:
        """The month's mean load, as a share of the peak's."""
        return self.peak_share + (1 - self.peak_share) * self.off_peak_load


@dataclass(frozen=True)
class Message:
    """What one message of 20 events needs, by cost and assumption: microseconds of a core,
    elements, bytes.
    """

    own_us: float
    elements: float
    runner_us: float
    streamed_bytes: float
    item_rows: float
    scope_rows: float
    query_rows: float
    top_rows: float

    @property
    def us(self) -> float:
        """Everything, in microseconds of one core."""
        return self.own_us + self.runner_us


def per_message(costs: Costs, given: Assumptions) -> Message:
    """What a message needs where `given.bundle_messages` of them are summed by item at once."""
    bundle = costs.bundle(given.bundle_messages)
    profiles = profile_folds(given)
    top_rows = bundle.query_rows * given.public_share
    # profiles, address, session, items, scopes, searches
    elements = profiles + 2 + bundle.item_rows + bundle.scope_rows + bundle.query_rows + top_rows
    own_us = (
        EVENTS_A_MESSAGE * (costs.decode_us + costs.row_us)
        + profiles * costs.profile_us
        + costs.address_us
        + costs.session_us
        + bundle.sum_us
        + bundle.item_rows * costs.item_us
        + bundle.scope_rows * costs.scope_us
        + bundle.query_rows * costs.query_us
        + top_rows * costs.top_us
    )
    return Message(
        own_us=own_us,
        elements=elements,
        runner_us=elements * costs.element_us * given.harness_factor,
        streamed_bytes=_streamed(costs, given, bundle),
        item_rows=bundle.item_rows,
        scope_rows=bundle.scope_rows,
        query_rows=bundle.query_rows,
        top_rows=top_rows,
    )


def profile_folds(given: Assumptions) -> float:
    """Folds of a profile a message: one, and one more where a browser's goes on to an account."""
    return 1 + given.forwarded_share


def _streamed(costs: Costs, given: Assumptions, bundle: Bundle) -> float:
    """Bytes a message that Streaming Engine sees: what is shuffled, and states read and written."""
    facts = EVENTS_A_MESSAGE * costs.fact_bytes
    # read, written, and on its way to Bigtable
    profiles = profile_folds(given) * (facts + 3 * costs.profile_bytes)
    items = bundle.item_rows * (costs.item_partial_bytes + 3 * costs.item_bytes)
    scopes = bundle.scope_rows * 3 * costs.scope_bytes
    # a partial of one search is as large as its query's state
    searches = bundle.query_rows * (
        4 * costs.query_bytes + given.public_share * 3 * costs.top_bytes
    )
    events = EVENTS_A_MESSAGE * (costs.event_bytes + costs.row_bytes)
    return events + facts + profiles + items + scopes + searches


@dataclass(frozen=True)
class Size:
    """An installation for `events_s` events a second at the peak."""

    events_s: float
    vcpus: float
    workers: int
    memory_gib: float
    state_gib: float
    api_processes: int
    writes_s: float
    reads_s: float
    storage_gib: float
    nodes: int
    pubsub_tib: float
    retained_gib: float
    streamed_tib: float
    logged_gib: float
    stored_gib: float
    visitors_day: float


def size(events_s: float, costs: Costs, given: Assumptions) -> Size:
    """What so many events a second at the peak ask for; volumes are a month's."""
    message, messages_s = per_message(costs, given), events_s / EVENTS_A_MESSAGE
    mean_s = events_s * given.mean_load()
    month = mean_s * SECONDS_A_MONTH
    visitors_day = mean_s * 86_400 / given.events_a_visitor_day
    vcpus = messages_s * message.us / 1e6 / given.utilisation
    workers = max(1, ceil(vcpus / given.worker_vcpus))
    shared = (
        given.items * costs.item_bytes
        + given.scopes * SHARDS * costs.scope_bytes
        + given.queries * costs.query_bytes
        + QUERY_SHARDS * costs.top_bytes
    )
    storage = (visitors_day * given.visitors_kept * costs.profile_bytes + shared) / GIB
    processes = max(1, ceil(events_s * given.requests_an_event / given.answers_a_process))
    writes = _writes(messages_s, message, costs, given)
    reads = _reads(events_s, processes, costs, given)
    published = month * costs.event_bytes
    logged = month * max(costs.row_bytes, 1_000) / GIB
    return Size(
        events_s=events_s,
        vcpus=vcpus,
        workers=workers,
        memory_gib=workers * given.worker_memory_gib,
        state_gib=(visitors_day * costs.profile_bytes + shared) / GIB,
        api_processes=processes,
        writes_s=sum(rows.a_second for rows in writes),
        reads_s=sum(rows.a_second for rows in reads),
        storage_gib=storage,
        nodes=_nodes(writes, reads, storage, given),
        pubsub_tib=2 * published / TIB,
        retained_gib=2 * published * given.retention_days / 30 / GIB,
        streamed_tib=month / EVENTS_A_MESSAGE * message.streamed_bytes / TIB,
        logged_gib=logged,
        stored_gib=month * costs.row_bytes * given.log_days / 30 / GIB,
        visitors_day=visitors_day,
    )


@dataclass(frozen=True)
class Rows:
    """Rows of one kind that Bigtable writes or reads a second, and the bytes of one."""

    a_second: float
    row_bytes: float

    @property
    def kb_a_second(self) -> float:
        """As Bigtable's throughput counts them: a row of several kB counts as so many rows."""
        return self.a_second * max(1.0, self.row_bytes / 1_000)


def _writes(
    messages_s: float, message: Message, costs: Costs, given: Assumptions
) -> tuple[Rows, ...]:
    """A message's profile at once, the others at most once an interval; the catalog's changes, each
    with its note.
    """
    items = zipf(messages_s * message.item_rows, given.items)
    queries = zipf(messages_s * message.query_rows, given.queries)
    top = [messages_s * message.top_rows / QUERY_SHARDS] * QUERY_SHARDS
    # every other element belongs to the scope of the whole shop
    of_all = messages_s * message.scope_rows / 2
    shards = [of_all / SHARDS] * SHARDS
    categories = [rate / SHARDS for rate in zipf(of_all, given.scopes - 1) for _ in range(SHARDS)]
    return (
        Rows(messages_s * profile_folds(given), costs.profile_bytes),
        Rows(coalesced(items, given.flush_s), costs.item_bytes),
        Rows(coalesced([*shards, *categories], given.flush_s), costs.scope_bytes),
        Rows(coalesced(queries, given.flush_s), costs.query_bytes),
        Rows(coalesced(top, given.flush_s), costs.top_bytes),
        Rows(2 * _changes_s(given), 1_000),
    )


def _reads(events_s: float, processes: int, costs: Costs, given: Assumptions) -> tuple[Rows, ...]:
    """Two profiles a request, and one read back for each visitor and day; by each process of the
    API a look at the notes of changes, and the items that they name.
    """
    requested = 2 * events_s * given.requests_an_event
    return (
        Rows(requested + events_s / given.events_a_visitor_day, costs.profile_bytes),
        Rows(processes * CHANGE_SHARDS / POLL_S, 1_000),
        Rows(processes * _changes_s(given), costs.item_bytes),
    )


def _changes_s(given: Assumptions) -> float:
    return given.items * given.changes_a_day / 86_400


def coalesced(rates: Iterable[float], flush_s: float) -> float:
    """Writes a second of rows that change at these rates (Poisson), each written at most once in
    `flush_s`.
    """
    return sum(rate / (1 + rate * flush_s) for rate in rates)


def zipf(total: float, count: int) -> list[float]:
    """`total` over `count` ranks, each in proportion to 1 / rank."""
    harmonic = sum(1 / rank for rank in range(1, count + 1)) or 1.0
    return [total / harmonic / rank for rank in range(1, count + 1)]


def _nodes(
    writes: Iterable[Rows], reads: Iterable[Rows], storage_gib: float, given: Assumptions
) -> int:
    """Bigtable nodes by load or by storage, one at least."""
    written = sum(rows.kb_a_second for rows in writes) / given.node_writes
    read = sum(rows.kb_a_second for rows in reads) / given.node_reads
    load = (written + read) / given.utilisation
    return max(1, ceil(load), ceil(storage_gib / given.node_storage_gib))


def dollars(found: Size, given: Assumptions) -> dict[str, float]:
    """Dollars a month by part; workers and nodes follow the load, one of each at least."""
    mean, hours = given.mean_load(), HOURS_A_MONTH
    workers, nodes = max(1.0, found.workers * mean), max(1.0, found.nodes * mean)
    worker = (
        given.worker_vcpus * _price("worker vCPU")
        + given.worker_memory_gib * _price("worker memory")
        + given.worker_disk_gib * _price("worker disk")
    )
    young = min(90 / given.log_days, 1.0)
    log = young * _price("BigQuery storage") + (1 - young) * _price("BigQuery old storage")
    return {
        "Dataflow workers": workers * hours * worker,
        "Streaming Engine": found.streamed_tib * TIB / GIB * _price("Streaming Engine"),
        "Bigtable": nodes * hours * _price("Bigtable node")
        + found.storage_gib * _price("Bigtable storage"),
        "Pub/Sub": found.pubsub_tib * _price("Pub/Sub throughput")
        + found.retained_gib * _price("Pub/Sub retention"),
        "BigQuery": found.logged_gib * _price("BigQuery inserts") + found.stored_gib * log,
    }


def _price(name: str) -> float:
    return PRICES[name].dollars


@dataclass(frozen=True)
class Key:
    """A key that may get hot: what one of its folds costs, and how many there are for each message
    that counts.
    """

    name: str
    fold_us: float
    folds_a_message: float

    @property
    def folds_s(self) -> float:
        """Folds a second that one key bears: they follow one another."""
        return 1e6 / self.fold_us

    @property
    def saturates_events_s(self) -> float:
        """Events a second, of the installation or of that visitor, at which the key has no time
        left.
        """
        return self.folds_s / self.folds_a_message * EVENTS_A_MESSAGE


def hot_keys(costs: Costs, given: Assumptions) -> list[Key]:
    """Where a single key ends: an item by its share of all messages, the shop's scope by its
    shards, a visitor.
    """
    runner, size_ = costs.element_us * given.harness_factor, given.bundle_messages
    item, scope, visitor = (us + runner for us in (costs.item_us, costs.scope_us, costs.profile_us))
    # every other element belongs to the scope of the whole shop
    of_all = costs.bundle(size_).scope_rows / 2
    top = costs.bundle(size_).query_rows * given.public_share / QUERY_SHARDS
    return [
        *(
            Key(f"an item in {share:.0%} of all messages", item, bundled(share, size_))
            for share in (0.01, 0.1, 1.0)
        ),
        *(
            Key(f"the shop's trending scope, {n} shard{'s' * (n > 1)}", scope, of_all / n)
            for n in (1, SHARDS, 100)
        ),
        Key(f"the top queries, {QUERY_SHARDS} rows", costs.top_us + runner, top),
        Key("one visitor", visitor, 1.0),
    ]


def bundled(share: float, messages: int) -> float:
    """Elements a message for an item that is in `share` of the messages, `messages` of which are
    summed at once.
    """
    return (1 - (1 - share) ** messages) / messages


def duplicate_share(costs: Costs, given: Assumptions) -> float:
    """What a message costs that is read again, its events known already, as a share of a new
    one's."""
    runner = costs.element_us * given.harness_factor
    folds = profile_folds(given) * (costs.profile_us + runner) + costs.address_us + runner
    return (EVENTS_A_MESSAGE * (costs.decode_us + costs.row_us) + folds) / per_message(
        costs, given
    ).us


def catch_up(hours: float, share: float, given: Assumptions) -> float:
    """Hours until `hours` read again at `share` of a new message's cost are behind: at the peak, no
    worker added.
    """
    return hours * share * given.utilisation / (1 - given.utilisation)
