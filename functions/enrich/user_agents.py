"""User agents, parsed and cached: browser, system, kind of device, and whether it is a known
crawler.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec
from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # type: ignore[import-untyped]
from ua_parser import OS, BestAvailableResolver, Domain, UserAgent, load_lazy_builtins

from pipeline.core.context import device_class

MAX_USER_AGENT_LENGTH = 512
MAX_FAMILY_LENGTH = 64
CACHED_USER_AGENTS = 4096
BUSY_SHARE, BURST_S = 0.05, 0.5
MAX_CHARGE_S = 0.02
"""Bound of the time that one parse is charged: a process that was put to sleep in it has not worked
so long."""

UNREAD, UNRECOGNISED = "unknown", "Other"

SENDERS = frozenset(
    {
        *"Python-urllib python-requests aiohttp httpx libwww-perl Go-http-client okhttp "
        "axios".split(),
        *r"AHC\/ ^Apache-HttpClient CustomAsyncHttpClient ^PHP-Curl-Class ^curl ^HTTPie\/ "
        r"node-fetch".split(),
        *r"sindresorhus\/got [wW]get Jetty Salesforce\.com AnyEvent Pcore-HTTP "
        r"HttpUrlConnection".split(),
        "Amazon CloudFront",  # sent in place of every visitor's own, unless configured otherwise
    }
)
"""Patterns of the crawlers' list that are libraries: with them back ends and apps send their
visitors' events."""

PEOPLE = frozenset(
    {
        r"AP3A\.240617\.008",  # a build of Android 15, named by its phones' in-app browsers
        "MetaIAB Facebook",  # the browser in Facebook's app
        "Fluid",  # a browser for single sites on macOS
        "GoogleImageProxy",  # fetches a mail's pixel when its reader opens it
        "YahooMailProxy",  # the same
    }
)
"""Patterns of the crawlers' list that people's own requests match."""

_CHUNK = 25
_BROWSER = re.compile(
    r"Mozilla/5\.0 \(.*(?:Chrome/\d|Firefox/\d|Version/\d[\d.]{0,12} (?:Mobile/\w{1,12} )?Safari/)"
)
_NOT_A_BROWSER = re.compile(r"; wv\)|Electron/|Headless|compatible|like Gecko\) Mobile/\w{1,12}$")
_CHROME = re.compile(r"Chrome/(\d{1,4})\.")
_FIREFOX = re.compile(r"Gecko/\S{1,20} Firefox/(\d{1,4})\.")
FETCH_METADATA_SINCE = {_CHROME: 80, _FIREFOX: 90}


class Agent(msgspec.Struct, frozen=True):
    """A user agent, parsed. It is a claim, and no proof.

    Attributes:
        family, os_family: `Chrome`, `Windows`; `Other` where the tables know none, `unknown` where
            it was not parsed.
        device_class: `desktop`, `mobile`, `tablet`, `tv`, `bot` or `other`.
        crawler: known to be no person.
        browser: claims to be Chrome or a relative, Firefox, or Safari, as such and not within an
            app.
        fetch_metadata: claims to be a browser that sends `Sec-Fetch-*` to every https address.
    """

    family: str
    os_family: str
    device_class: str
    crawler: bool
    browser: bool
    fetch_metadata: bool


NOT_PARSED = Agent(UNREAD, UNREAD, "other", crawler=False, browser=False, fetch_metadata=False)


class UserAgents:
    """Reads user agents and remembers the latest; for one thread.

    A text that is not remembered takes 0.4 ms of regular expressions, and 1.3 ms where it is noise
    (`python -m tests.bench steps`); less with the package's Rust resolver, which is used where it
    is installed. So that no sender keeps the process busy with new texts, parsing may take
    `busy_share` of the time. A text beyond that is `NOT_PARSED`: no crawler and no browser is
    recognised in it, and it is not remembered.

    Args:
        clock: seconds, monotonic.
        busy_share: of one core's time.
        burst_s: of time for reading that can be saved up, and is there at the start.
        size: texts remembered, each of at most `MAX_USER_AGENT_LENGTH` characters.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        busy_share: float = BUSY_SHARE,
        burst_s: float = BURST_S,
        size: int = CACHED_USER_AGENTS,
    ) -> None:
        self._clock = clock
        self._busy_share, self._burst_s, self._size = busy_share, burst_s, size
        self._known: OrderedDict[str, Agent] = OrderedDict()
        self._parse = BestAvailableResolver(load_lazy_builtins())
        self._crawlers = crawler_patterns()
        self._read("-")  # compiles every expression, once and not within a request
        self._saved_s, self._seen_at_s = burst_s, clock()

    def of(self, text: str) -> Agent:
        """The user agent of a text; of a long one, of its first `MAX_USER_AGENT_LENGTH`
        characters."""
        text = text[:MAX_USER_AGENT_LENGTH]
        agent = self._known.get(text)
        if agent is None:
            return self._parse_new(text)
        self._known.move_to_end(text)
        return agent

    def _parse_new(self, text: str) -> Agent:
        started_s = self._clock()
        earned_s = (started_s - self._seen_at_s) * self._busy_share
        self._saved_s = min(self._burst_s, self._saved_s + earned_s)
        self._seen_at_s = started_s
        if self._saved_s <= 0:
            return NOT_PARSED
        agent = self._known[text] = self._read(text)
        if len(self._known) > self._size:
            self._known.popitem(last=False)
        self._saved_s -= min(self._clock() - started_s, MAX_CHARGE_S)
        return agent

    def _read(self, text: str) -> Agent:
        # Agents are ASCII, and the package's Rust resolver refuses what UTF-8 cannot hold.
        plain = text.encode("ascii", "replace").decode()
        found = self._parse(plain, Domain.USER_AGENT | Domain.OS)
        return _agent(
            plain,
            family=_family(found.user_agent),
            os_family=_family(found.os),
            crawler=any(pattern.search(plain) for pattern in self._crawlers),
        )


def crawler_patterns() -> Sequence[re.Pattern[str]]:
    """The crawlers' list without `SENDERS` and `PEOPLE`, in chunks, which the engine searches
    faster than the whole.
    """
    patterns = [
        row["pattern"] for row in CRAWLER_USER_AGENTS_DATA if row["pattern"] not in SENDERS | PEOPLE
    ]
    return [
        re.compile("|".join(patterns[at : at + _CHUNK])) for at in range(0, len(patterns), _CHUNK)
    ]


def _agent(text: str, *, family: str, os_family: str, crawler: bool) -> Agent:
    browser = _BROWSER.match(text) is not None and _NOT_A_BROWSER.search(text) is None
    return Agent(
        family=family,
        os_family=os_family,
        device_class="bot" if crawler else device_class(text),
        crawler=crawler,
        browser=browser,
        fetch_metadata=browser and _claims_fetch_metadata(text),
    )


def _claims_fetch_metadata(text: str) -> bool:
    for pattern, since in FETCH_METADATA_SINCE.items():
        version = pattern.search(text)
        if version is not None and int(version[1]) >= since:
            return True
    return False


def _family(parsed: UserAgent | OS | None) -> str:
    """The family, which may be a part of the text itself, within bounds."""
    if parsed is None or not parsed.family or not parsed.family.isprintable():
        return UNRECOGNISED
    return parsed.family[:MAX_FAMILY_LENGTH]
