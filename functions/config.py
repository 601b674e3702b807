"""The collector's configuration, read once at start from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from functions.access.sites import Sites, checked_origin
from functions.http.cookie import CookieOptions
from pipeline.core.privacy.policy import Privacy
from pipeline.runtime.environ import (
    InvalidConfig,
    burst,
    choice,
    names,
    number,
    project_id,
    pubsub_emulator,
    rate_per_s,
    required,
    secret_key,
)
from pipeline.runtime.privacy_settings import privacy_from_env

PUBLISH_DEADLINE_S = 5.0
_MARKS_BOTS = {"mark": True, "ignore": False}


@dataclass(frozen=True, slots=True)
class Config:
    """Configuration of one collector process.

    Attributes:
        project: Google Cloud project id, which the topics live in.
        events_topic, dead_letter_topic: topic names without the `projects/…/topics/` prefix.
        pubsub_emulator_host: `host:port` of the Pub/Sub emulator; None means Google Cloud.
        cors_origins: the exact origins whose pages may call the collector; `*` allows every origin.
        backfill_key: the secret that a backfill must present; None refuses every backfill.
        address_key: the secret, 16 to 64 bytes, that clients' addresses are hashed with; None sends
            none of them on.
        sites: who may send, and what holds for them; none named: anybody.
        address_requests_per_s, address_burst: what one address may send to one instance; None: no
            limit.
        bot_requests_per_s: what no person does from one address; what goes beyond is marked. None:
            no mark by rate.
        marks_bots: whether requests that are no person's are marked.
        country_header: the load balancer's header with the visitor's country; None: not looked at.
        countries_file: a database in MaxMind's format, by which an address is a country; None: not
            looked up.
        privacy: consent, signals, fields that are cut, dropped or hashed, the key that proves user
            ids.
        cookie: the first-party cookie with the anonymous id; None: no cookies.
        publish_deadline_s: seconds until an unconfirmed publish turns into a 503.
    """

    project: str
    events_topic: str
    dead_letter_topic: str
    pubsub_emulator_host: str | None = None
    cors_origins: frozenset[str] = frozenset()
    backfill_key: str | None = None
    address_key: bytes | None = field(default=None, repr=False)
    sites: Sites = field(default_factory=lambda: Sites({}), repr=False)
    address_requests_per_s: float | None = None
    address_burst: float | None = None
    bot_requests_per_s: float | None = None
    marks_bots: bool = True
    country_header: str | None = None
    countries_file: str | None = None
    privacy: Privacy = field(default_factory=Privacy)
    cookie: CookieOptions | None = None
    publish_deadline_s: float = PUBLISH_DEADLINE_S

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Config:
        """Read the configuration from `environ`.

        Raises:
            InvalidConfig: naming the variable, and what was expected of it.
        """
        return cls(
            project=project_id(environ),
            events_topic=required(environ, "FRESHET_EVENTS_TOPIC"),
            dead_letter_topic=required(environ, "FRESHET_DEAD_LETTER_TOPIC"),
            pubsub_emulator_host=pubsub_emulator(environ),
            cors_origins=_origins(environ),
            backfill_key=environ.get("FRESHET_BACKFILL_KEY") or None,
            address_key=secret_key(environ, "FRESHET_ADDRESS_KEY"),
            sites=_sites(environ),
            address_requests_per_s=rate_per_s(environ, "FRESHET_ADDRESS_REQUESTS_PER_S"),
            address_burst=burst(environ, "FRESHET_ADDRESS_BURST"),
            bot_requests_per_s=rate_per_s(environ, "FRESHET_BOT_REQUESTS_PER_S"),
            marks_bots=choice(environ, "FRESHET_BOTS", _MARKS_BOTS, default=True),
            country_header=environ.get("FRESHET_COUNTRY_HEADER", "").strip().lower() or None,
            countries_file=environ.get("FRESHET_COUNTRIES_FILE") or None,
            privacy=privacy_from_env(environ),
            cookie=CookieOptions.from_env(environ),
            publish_deadline_s=number(
                environ, "FRESHET_PUBLISH_DEADLINE_S", PUBLISH_DEADLINE_S, 0.001, 60.0
            ),
        )

    @property
    def events_path(self) -> str:
        """The full resource name of the events topic."""
        return f"projects/{self.project}/topics/{self.events_topic}"

    @property
    def dead_letter_path(self) -> str:
        """The full resource name of the dead-letter topic."""
        return f"projects/{self.project}/topics/{self.dead_letter_topic}"


def _origins(environ: Mapping[str, str]) -> frozenset[str]:
    given = names(environ, "FRESHET_CORS_ORIGINS")
    return frozenset(o if o == "*" else checked_origin("FRESHET_CORS_ORIGINS", o) for o in given)


def _sites(environ: Mapping[str, str]) -> Sites:
    """Of `FRESHET_SITES`, or of the file that `FRESHET_SITES_FILE` names (a mounted secret)."""
    text, path = environ.get("FRESHET_SITES", ""), environ.get("FRESHET_SITES_FILE", "")
    if text or not path:
        return Sites.parse(text)
    try:
        return Sites.parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidConfig(
            f"FRESHET_SITES_FILE: expected a file that can be read, got {path!r} ({error})"
        ) from None
