"""The API's configuration, read once at start from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from pipeline.core.attributes import AttributeType
from pipeline.core.privacy.policy import Privacy
from pipeline.runtime.attribute_settings import attributes_from_env
from pipeline.runtime.environ import (
    InvalidConfig,
    between,
    bigtable_instance,
    burst,
    flag,
    names,
    number,
    port,
    project_id,
    rate_per_s,
    whole_number,
)
from pipeline.runtime.privacy_settings import privacy_from_env
from vertex.api.memory import items_that_fit, memory_bytes

MIN_KEY_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the parts of the final score, all in [0, 1]: `ctr` and `recency`, `category` and
    `interest`; `conversion`, the item's purchases per view; as shares of the best candidate's
    `revenue`, price x conversion, `margin`, the attribute of this name x conversion, and
    `watch_time`, the seconds that visitors give the item per view.
    """

    ctr: float = 1.0
    recency: float = 0.3
    category: float = 0.1
    interest: float = 0.2
    conversion: float = 0.0
    revenue: float = 0.0
    margin: float = 0.0
    watch_time: float = 0.0


@dataclass(frozen=True, slots=True)
class Config:
    """Configuration of one API process.

    Attributes:
        project, instance: the Bigtable instance `instance` of the Google Cloud project.
        model_dir: the model folder (local or `gs://`): item vectors, and the ranker for when Vertex
            does not answer.
        snapshot_dir: the folder (local or `gs://`) of the snapshot of the items to start from; None
            reads all of them from Bigtable.
        vertex_endpoint: `projects/…/locations/…/endpoints/…`; None ranks in process.
        vertex_host: `host:port` of a predictor without TLS or credentials, or `https://host` of a
            dedicated endpoint; None is the endpoint's region on Google Cloud.
        weights: of the final score.
        cors_origins: the exact origins whose pages may call the API; `*` allows every origin.
        allow_as_of: whether a request may ask for the answer of another moment (replay).
        profile_view: whether `/v1/profile` answers, and answers of `/v1/recommendations` have their
            reasons. Both show what a visitor did to all who know one of the ids, so it is for
            demonstrations, and for shops whose user ids cannot be guessed. A slate too follows from
            the profile of the ids it is asked for: a public page sends ids that cannot be guessed
            (random, or keyed hashes).
        hide_seen: placements that do not show again what the visitor has touched already.
        recommend_stubs: show items that are known from events only; while there is no catalog at
            all they are shown.
        explore_rate: the share of slates that give one slot to an item few have seen, in [0, 1].
        vertex_deadline_s: what the ranker may take before the in-process one answers.
        bigtable_deadline_s: what one read may take before the answer goes without it.
        max_items: how many items of the catalog are kept in memory (about 2 kB each).
        item_ttl_days: statistics of items, stubs and trending scopes older than this count as
            forgotten.
        attributes: types of items' attributes by name (FRESHET_ATTRIBUTES); None: inferred.
        api_keys: of back ends, which ask for many visitors from one address, and write the catalog;
            they come in `X-Freshet-Key`.
        address_requests_per_s, address_burst: what one address may ask of one instance; None: no
            limit.
        key_requests_per_s, key_burst: what a back end's key may, in place of its address; None: no
            limit.
        placements: a file of placements or its text; empty: the built-in ones.
        experiments: a file of experiments or its text; empty: none.
        country_header: the load balancer's header with the visitor's country; None: not looked at.
        host, port: to listen on; FRESHET_HOST and PORT, which Cloud Run sets.
        privacy: consent by default, signals, fields that are dropped or hashed, the key that proves
            user ids: as the collector has them.
    """

    project: str
    instance: str
    model_dir: str = "build/models"
    snapshot_dir: str | None = None
    vertex_endpoint: str | None = None
    vertex_host: str | None = None
    weights: Weights = Weights()
    cors_origins: tuple[str, ...] = ()
    allow_as_of: bool = False
    profile_view: bool = False
    hide_seen: frozenset[str] = frozenset({"product"})
    recommend_stubs: bool = False
    explore_rate: float = 0.1
    vertex_deadline_s: float = 0.05
    bigtable_deadline_s: float = 0.2
    max_items: int = 20_000
    item_ttl_days: float = 90.0
    privacy: Privacy = field(default_factory=Privacy)
    attributes: Mapping[str, AttributeType] | None = None
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    address_requests_per_s: float | None = None
    address_burst: float | None = None
    key_requests_per_s: float | None = None
    key_burst: float | None = None
    placements: str = ""
    experiments: str = ""
    country_header: str | None = None
    host: str = "127.0.0.1"
    port: int = 8081

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Config:
        """Read the configuration from `environ`.

        Raises:
            InvalidConfig: naming the variable, its value and what was expected.
        """
        return cls(
            project=project_id(environ),
            instance=bigtable_instance(environ),
            model_dir=environ.get("FRESHET_MODEL_DIR") or "build/models",
            snapshot_dir=environ.get("FRESHET_SNAPSHOT_DIR") or None,
            vertex_endpoint=_endpoint(environ.get("FRESHET_VERTEX_ENDPOINT") or None),
            vertex_host=environ.get("FRESHET_VERTEX_HOST") or None,
            weights=parse_weights(environ.get("FRESHET_SCORE_WEIGHTS", "")),
            cors_origins=_origins(environ),
            allow_as_of=flag(environ, "FRESHET_ALLOW_AS_OF"),
            profile_view=flag(environ, "FRESHET_PROFILE_VIEW"),
            hide_seen=frozenset(names(environ, "FRESHET_HIDE_SEEN", default="product")),
            recommend_stubs=flag(environ, "FRESHET_RECOMMEND_STUBS"),
            explore_rate=number(environ, "FRESHET_EXPLORE_RATE", 0.1, 0.0, 1.0),
            vertex_deadline_s=number(environ, "FRESHET_VERTEX_DEADLINE_S", 0.05, 0.001, 60.0),
            bigtable_deadline_s=number(environ, "FRESHET_BIGTABLE_DEADLINE_S", 0.2, 0.001, 60.0),
            max_items=whole_number(
                environ, "FRESHET_MAX_ITEMS", items_that_fit(memory_bytes()), 1, 10_000_000
            ),
            item_ttl_days=number(environ, "FRESHET_ITEM_TTL_DAYS", 90.0, 1.0, 36_500.0),
            privacy=privacy_from_env(environ),
            attributes=attributes_from_env(environ),
            api_keys=_keys(environ, "FRESHET_API_KEYS"),
            address_requests_per_s=rate_per_s(environ, "FRESHET_ADDRESS_REQUESTS_PER_S"),
            address_burst=burst(environ, "FRESHET_ADDRESS_BURST"),
            key_requests_per_s=rate_per_s(environ, "FRESHET_KEY_REQUESTS_PER_S"),
            key_burst=burst(environ, "FRESHET_KEY_BURST"),
            placements=environ.get("FRESHET_PLACEMENTS", "").strip(),
            experiments=environ.get("FRESHET_EXPERIMENTS", "").strip(),
            country_header=environ.get("FRESHET_COUNTRY_HEADER", "").strip().lower() or None,
            host=environ.get("FRESHET_HOST") or "127.0.0.1",
            port=port(environ, "PORT", 8081),
        )


def parse_weights(text: str) -> Weights:
    """Read `ctr=1,recency=0.3`; what is not named keeps its default.

    Raises:
        InvalidConfig: for an unknown name or a value that is no number of at least 0.
    """
    known = [field.name for field in fields(Weights)]
    given: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name not in known:
            raise InvalidConfig(
                f"FRESHET_SCORE_WEIGHTS: expected a name of {', '.join(known)}, got {part!r}"
            )
        given[name] = between("FRESHET_SCORE_WEIGHTS", value, 0.0, 1000.0)
    return Weights(**given)


def _endpoint(text: str | None) -> str | None:
    parts = text.split("/") if text else []
    if text is not None and (
        parts[::2] != ["projects", "locations", "endpoints"] or not all(parts[1::2])
    ):
        raise InvalidConfig(
            f"FRESHET_VERTEX_ENDPOINT: expected projects/P/locations/L/endpoints/E, got {text!r}"
        )
    return text


def _origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(origin.rstrip("/") for origin in names(environ, "FRESHET_CORS_ORIGINS"))


def _keys(environ: Mapping[str, str], key: str) -> tuple[str, ...]:
    keys = tuple(names(environ, key))
    if any(len(each) < MIN_KEY_LENGTH or not each.isascii() for each in keys):
        raise InvalidConfig(
            f"{key}: expected keys of at least {MIN_KEY_LENGTH} ASCII characters, with commas "
            "between"
        )
    return keys
