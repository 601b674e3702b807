"""Winds subscriptions back to a time, so that the pipeline reads again.

python -m pipeline.ops.rewind 10m
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from google.api_core.exceptions import GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.pubsub_v1 import SubscriberClient
from requests.exceptions import RequestException

from pipeline.core.events import MAX_AGE
from pipeline.core.timestamps import format_time
from pipeline.runtime.installation import Installation
from pipeline.runtime.times import moment

CALL_S = 30.0
_COUNT = """
select count(distinct event_id) as events
from `{events}`
where timestamp >= @oldest and ingest_time >= @since
"""


class RewindError(ValueError):
    """An error that keeps us from winding back: field, expectation and value."""


def check_reach(since: datetime, now: datetime, retention: timedelta) -> None:
    """Raise RewindError unless `since` is past, and no longer ago than messages are kept."""
    if since > now:
        raise RewindError(
            f"SINCE: expected a time that is past at {format_time(now)}, got {format_time(since)}"
        )
    if now - since > retention:
        kept = f"at most {_days(retention)} ago, for messages are kept no longer"
        raise RewindError(f"SINCE: expected {kept}; got {format_time(since)}")


def retention_of(client: SubscriberClient, subscription: str) -> timedelta:
    """Time for which the subscription keeps messages that were acknowledged.

    Raises:
        RewindError: there is no such subscription, or it does not keep them.
    """
    try:
        found = client.get_subscription(subscription=subscription, timeout=CALL_S)
    except NotFound:
        raise RewindError(f"subscription: expected one that exists, got {subscription}") from None
    if not found.retain_acked_messages:
        raise RewindError(
            f"subscription: expected one that keeps acknowledged messages, got {subscription}"
        )
    kept: timedelta = found.message_retention_duration
    return kept


def rewind(
    installation: Installation, names: Sequence[str], since: datetime, now: datetime
) -> None:
    """Seek every subscription to `since`, after all of them were found able to.

    What was published at that time or later is delivered again. What was published before counts as
    read, whether it has been read or not.

    Raises:
        RewindError: nothing was changed.
    """
    subscriptions = [installation.subscription(name) for name in names]
    with installation.subscriber() as client:
        for subscription in subscriptions:
            check_reach(since, now, retention_of(client, subscription))
        for subscription in subscriptions:
            client.seek({"subscription": subscription, "time": since}, timeout=CALL_S)


def events_since(installation: Installation, since: datetime) -> int:
    """Number of the log's events that came in since then; neither those that never got there nor
    older backfills.
    """
    bounds = {"oldest": since - MAX_AGE, "since": since}
    parameters = [
        bigquery.ScalarQueryParameter(name, "TIMESTAMP", time) for name, time in bounds.items()
    ]
    job = bigquery.QueryJobConfig(query_parameters=parameters)
    client = installation.bigquery()
    try:
        query, retry = (
            _COUNT.format(events=installation.table("events")),
            bigquery.DEFAULT_RETRY.with_timeout(CALL_S),
        )
        return int(next(iter(client.query_and_wait(query, job_config=job, retry=retry)))["events"])
    finally:
        client.close()


def main(argv: Sequence[str], environ: Mapping[str, str], now: datetime) -> int:
    """Exit code 0 when all was wound back, 1 when Pub/Sub did not do so, 2 when it cannot be done
    as asked.
    """
    options = _parser().parse_args(argv)
    try:
        installation = Installation.from_env(environ)
        since = moment("SINCE", options.since, now)
        names = [
            installation.events_subscription,
            *([installation.dead_letters_subscription] if options.all else []),
        ]
        rewind(installation, names, since, now)
    except ValueError as error:
        print(f"rewind: {error}", file=sys.stderr)
        return 2
    except (GoogleAPIError, GoogleAuthError) as error:
        print(f"rewind: Pub/Sub did not do it: {error}", file=sys.stderr)
        return 1
    print(
        f"rewind: {' and '.join(names)} of {installation.project}: read again from "
        f"{format_time(since)} on"
    )
    print("rewind: what was published before counts as read, also what nobody had read yet")
    print(f"rewind: {_waiting(installation, since)}")
    return 0


def _waiting(installation: Installation, since: datetime) -> str:
    """Pub/Sub itself does not count its messages; the log says how many events must be among
    them."""
    try:
        return (
            f"at least {events_since(installation, since):,} events are read again, by what "
            "the log holds of then"
        )
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        return f"how many wait is not known: BigQuery did not answer ({type(error).__name__})"


def _days(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days:g} day{'' if days == 1 else 's'}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.ops.rewind", description=__doc__)
    parser.add_argument("since", help="RFC 3339 time with a zone, or a span such as 10m, 2h, 3d")
    parser.add_argument("--all", action="store_true", help="the dead letters' subscription too")
    return parser


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Google's clients warn of their own internals
    sys.exit(main(sys.argv[1:], os.environ, datetime.now(UTC)))
