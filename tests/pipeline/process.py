"""The pipeline as a process of its own, and its topics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.pubsub_v1 import PubsubMessage

from tests.stack.prerequisites import REPO
from tests.stack.readiness import publisher, subscriber

GAP_S = 2.0
RULES = """
campaigns:
  - name: bought
    conditions: {purchases_total: {at_least: 1}}
    cooldown: 366d
    channel: email
  - name: fell_silent
    conditions: {idle_s: {at_least: 3s, at_most: 60s}}
    cooldown: 366d
    channel: onsite
anomalies:
  - name: searches
    conditions: {searches_24h: {at_least: 2}}
    severity: low
    marks: false
    mark_for: 30d
  - name: address
    of: address
    conditions: {events_5m: {at_least: 20}}
    severity: low
    marks: false
    mark_for: 30d
"""


def publish(env: Mapping[str, str], bodies: list[bytes]) -> None:
    topic = f"projects/{env['GOOGLE_CLOUD_PROJECT']}/topics/{env['FRESHET_EVENTS_TOPIC']}"
    with publisher(env) as client:
        for body in bodies:
            attributes = {"schema_version": "1", "address": "net"}
            client.publish(topic=topic, messages=[PubsubMessage(data=body, attributes=attributes)])


def listen(env: Mapping[str, str]) -> None:
    """Keep from now on what comes on the topics of campaigns and anomalies."""
    with subscriber(env) as client:
        for kind in ("CAMPAIGNS", "ANOMALIES"):
            topic = f"projects/{env['GOOGLE_CLOUD_PROJECT']}/topics/{env[f'FRESHET_{kind}_TOPIC']}"
            client.create_subscription(name=_listener(env, kind), topic=topic)


def received(env: Mapping[str, str], kind: str) -> list[dict[str, Any]]:
    """What has come on a topic since `listen`."""
    with subscriber(env) as client:
        response = client.pull(subscription=_listener(env, kind), max_messages=1000, timeout=10)
        return [json.loads(found.message.data) for found in response.received_messages]


def _listener(env: Mapping[str, str], kind: str) -> str:
    topic = env[f"FRESHET_{kind}_TOPIC"]
    return f"projects/{env['GOOGLE_CLOUD_PROJECT']}/subscriptions/{topic}-listener"


class Pipeline:
    """The pipeline in a process of its own."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self._env, self._log, self._rules = env, folder / "pipeline.log", folder / "rules.yaml"
        self._rules.write_text(RULES)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        command = [
            sys.executable,
            "-m",
            "pipeline.main",
            "--read=events",
            f"--session_gap_s={GAP_S}",
            *arguments,
        ]
        with self._log.open("a") as output:
            self._process = subprocess.Popen(
                [*command, f"--rules={self._rules}"],
                cwd=REPO,
                env={**os.environ, **self._env},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def check(self) -> None:
        """Fail unless it still runs."""
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"the pipeline ended with {code}:\n{self._log.read_text()[-4000:]}"

    def refused(self) -> str:
        """Wait for its end, which must be a failure, and return what it wrote."""
        assert self._process is not None
        assert self._process.wait(60) not in (0, None)
        return self._log.read_text()

    def stop(self) -> int:
        """Ask it to finish what it has begun, and wait for that; its exit status, negative where it
        was killed.
        """
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def metrics(self) -> dict[str, int]:
        """The counts of its last report; it must have ended."""
        reports = [line for line in self._log.read_text().splitlines() if '"metrics"' in line]
        found: dict[str, int] = json.loads(reports[-1][reports[-1].index("{") :])["metrics"]
        return found
