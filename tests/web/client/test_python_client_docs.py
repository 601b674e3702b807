"""docs/python-client.md, word for word: its code runs as it stands, save for the addresses and the
key.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.events import decode_message
from tests.functions.pubsub import Topics
from tests.stack.prerequisites import REPO
from tests.web.client.conftest import SERVER_KEY
from tests.web.client.http_server import Requests, server

CODE = "\n".join(
    re.findall(
        r"```python\n(.*?)```", (REPO / "docs/python-client.md").read_text("utf-8"), re.DOTALL
    )
)
TERMINATED = """
import os

gone = freshet.track("click", user_id="u1", event_id="last")
os.kill(os.getpid(), signal.SIGTERM)
"""
GIVEN_UP = """
assert freshet.flush()
stopped = Freshet("http://127.0.0.1:9", "any", on_error=keep)
stopped.track("search", user_id="u1", event_id="kept", query="socks", consent={"analytics": True})
stopped.close(0.0)
send_again()
"""


@pytest.fixture
def api() -> Iterator[Requests]:
    """Where an API answers, with the one thing that the page reads of it."""
    said = b'{"recommendations":["p1"],"written":1,"errors":[]}'
    with server(lambda *_: (200, {}, said)) as requests:
        yield requests


def test_the_page_s_code_reports_its_events_and_a_process_that_is_terminated_sends_the_last_one(
    url: str, topics: Topics, api: Requests, installed: dict[str, str], tmp_path: Path
) -> None:
    addresses = {
        "https://collector.example": url,
        "https://api.example": api.url,
        "a write key for servers": SERVER_KEY,
    }
    script = CODE + GIVEN_UP + TERMINATED
    for said, real in addresses.items():
        assert said in script
        script = script.replace(said, real)
    subprocess.run(
        [sys.executable, "-S", "-c", script], check=True, timeout=60, cwd=tmp_path, env=installed
    )
    events = [event for message in topics.all_events(7) for event in decode_message(message.data)]
    assert sorted(event.event for event in events) == sorted(
        ["add_to_cart", "identify", "page_view", "purchase", "click", "search", "click"]
    )
    ids = {event.event_id: event for event in events}
    assert {"o-1001#p1#1", "mail-7-link-3", "last"} < set(ids)
    assert (
        ids["kept"].metadata["query"] == "socks"
        and ids["kept"].metadata["consent"]["analytics"] is True
    )
    assert ids["mail-7-link-3"].metadata["consent"] == {"analytics": True, "personalization": False}
    assert {headers["path"].partition("?")[0] for headers, _ in api} == {
        "/v1/recommendations",
        "/v1/pages",
        "/v1/rank",
        "/v1/items/p1/similar",
        "/v1/search/suggest",
        "/v1/experiments/assign",
        "/v1/items/p1",
        "/v1/items/p9",
        "/v1/items",
    }
