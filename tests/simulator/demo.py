"""`make demo`: the whole loop on one machine, from an empty stack to a report on what it brought.

Starts the stack, loads the catalog, sends a day of past traffic, trains the first model on it, then
lets simulated shoppers in for `DEMO_SECONDS` (180): half see personalized rows, half popular ones,
while probe visitors measure freshness. In the end every accepted event must be in BigQuery.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulator import catalog, history
from tests.simulator.client import Client, wait_for_items, wait_for_model
from tests.simulator.demo_report import build_report, faults, show
from tests.simulator.freshness import Freshness, Prober
from tests.simulator.report import (
    REPORTS,
    Progress,
    StepFailed,
    run_module,
    write_report,
)
from tests.simulator.shoppers import World
from tests.simulator.statistics import percentiles
from tests.simulator.traffic import ARMS, Outcome, Plan, Traffic
from tests.simulator.warehouse import LogCount, Warehouse, wait_until_folded, wait_until_stored
from tests.stack import APPS, EMULATORS, Stack, StackError, running_stack
from tests.stack.environment import DEFAULT
from tests.stack.prerequisites import Missing

SENDERS = 4
TOO_LITTLE_DATA = 3  # what `vertex.training` exits with then
FRESHNESS = ("freshness_profile_ms", "freshness_recommendation_ms")


@dataclass(frozen=True)
class Config:
    """What the demo can be told."""

    seconds: float = 180.0
    events_per_s: float = 50.0
    history_sessions: int = 500
    stack: str = DEFAULT
    ports: str = "default"
    seed: int = 7

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> Config:
        """DEMO_SECONDS, DEMO_EVENTS_PER_S, DEMO_HISTORY_SESSIONS, DEMO_SEED, DEMO_STACK and PORTS,
        where set.

        Raises:
            ValueError: naming the variable, for what is no number above 0.
        """
        return Config(
            seconds=_number(environ, "DEMO_SECONDS", Config.seconds),
            events_per_s=_number(environ, "DEMO_EVENTS_PER_S", Config.events_per_s),
            history_sessions=int(
                _number(environ, "DEMO_HISTORY_SESSIONS", Config.history_sessions)
            ),
            stack=environ.get("DEMO_STACK") or Config.stack,
            ports=environ.get("PORTS") or Config.ports,
            seed=int(_number(environ, "DEMO_SEED", Config.seed)),
        )


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}: expected a number above 0, got {text!r}")
    return value


class Demo:
    """One run against a stack of which only the emulators are up, and empty."""

    def __init__(self, stack: Stack, config: Config, say: Progress) -> None:
        env = self._env = stack.env
        self._stack = stack
        self._config = config
        self._say = say
        self._run = uuid.uuid4().hex[:8]
        self._products = catalog.generate(seed=config.seed)
        self._world = World(self._products, config.seed)
        self._warehouse = Warehouse(env)
        self._client = Client(
            env["FRESHET_COLLECTOR_URL"],
            env["FRESHET_API_URL"],
            backfill_key=env["FRESHET_BACKFILL_KEY"],
        )

    async def run(self) -> int:
        """Play everything; the exit code."""
        async with self._client:
            history_events, version = await self._open()
            outcome, freshness = await self._live()
            log = await self._reconcile()
            held = await wait_until_folded(self._warehouse, log.distinct)
        report = build_report(outcome, freshness, self._client.tally, log)
        report["events_in_profiles"] = held.events_in_profiles
        report |= {"history_events": history_events, "model_version": version}
        report["lost"] = await self._lost(log)
        report["dead_letters"] = await asyncio.to_thread(self._warehouse.dead_letters)
        self._warehouse.close()
        return conclude(report, self._say)

    async def prepare(self) -> None:
        """Open the shop with a past and a first model, and let nobody in."""
        async with self._client:
            await self._open()
        self._warehouse.close()

    async def _open(self) -> tuple[int, str]:
        """A shop with a past: how many events that is, and the model that was trained on it."""
        await self._open_shop()
        return await self._send_history(), await self._train()

    async def _open_shop(self) -> None:
        """The catalog first, so that every application finds it when it starts."""
        path = Path(self._env["FRESHET_CATALOG"])
        catalog.write(self._products, path)
        self._say(f"loading {len(self._products):,} products into Bigtable")
        await run_module("pipeline.ops.catalog", str(path), env=self._env)
        await asyncio.to_thread(self._stack.start_parts, APPS)
        await wait_for_items(self._client, len(self._products))

    async def _send_history(self) -> int:
        """A day of past traffic, folded and logged; how many events."""
        self._say(f"sending {self._config.history_sessions:,} past visits")
        events = history.generate(
            self._world,
            sessions=self._config.history_sessions,
            until=time.time(),
            run=self._run,
            seed=self._config.seed,
        )
        messages = history.messages(events)

        async def sender() -> None:
            for message in messages:
                await self._client.send(message, backfill=True)

        await asyncio.gather(*(sender() for _ in range(SENDERS)))
        sent = len(self._client.tally.accepted_ids)
        self._say(f"{sent:,} past events sent; waiting until they are in the log")
        await wait_until_stored(self._warehouse, sent, say=self._say)
        return sent

    async def _train(self) -> str:
        """A first model from the past; its version, once the API ranks with it."""
        self._say("training on them")
        try:
            await run_module("vertex.training", env=self._env)
        except StepFailed as error:
            if error.code != TOO_LITTLE_DATA:
                raise
            self._say("too little past to train on; the model that ships with Freshet ranks")
            return str((await self._client.health())["model_version"])
        version = (
            (Path(self._env["FRESHET_MODEL_DIR"]) / "LATEST").read_text(encoding="utf-8").strip()
        )
        await wait_for_model(self._client, version)
        self._say(f"the API ranks with model {version}")
        return version

    async def _live(self) -> tuple[Outcome, Freshness]:
        plan = Plan(self._config.seconds, self._config.events_per_s, seed=self._config.seed)
        traffic = Traffic(self._client, self._world, plan, run=self._run)
        prober = Prober(self._client, self._world, run=self._run, seed=self._config.seed)
        self._say(f"the store is at {self._env['FRESHET_STORE_URL']}")
        self._say(
            f"shoppers arrive for {plan.seconds:.0f} s, about {plan.events_per_s:.0f} events a "
            "second"
        )
        outcome, freshness, _ = await asyncio.gather(
            traffic.run(),
            prober.run(plan.seconds),
            every(
                15.0, plan.seconds, lambda: self._say(_so_far(traffic.outcome, prober.freshness))
            ),
        )
        return outcome, freshness

    async def _reconcile(self) -> LogCount:
        expected = len(self._client.tally.accepted_ids)
        self._say(f"waiting until the log holds all {expected:,} accepted events")
        return await wait_until_stored(self._warehouse, expected, say=self._say)

    async def _lost(self, log: LogCount) -> dict[str, Any]:
        """Accepted events that are not in the log: how many by name, and the first ten ids."""
        accepted = self._client.tally.accepted_ids
        if log.distinct == len(accepted):
            return {}
        stored = await asyncio.to_thread(self._warehouse.event_ids)
        missing = [event_id for event_id in accepted if event_id not in stored]
        by_name = Counter(accepted[event_id] for event_id in missing)
        return {"events": len(missing), "by_name": dict(by_name), "first": missing[:10]}


async def every(period_s: float, seconds: float, do: Callable[[], None]) -> None:
    """Call `do` each `period_s` for `seconds`."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > period_s:
        await asyncio.sleep(period_s)
        do()
    await asyncio.sleep(max(0.0, left))


def _so_far(outcome: Outcome, freshness: Freshness) -> str:
    rates = [f"{name} {ratio.value:.2%}" for name in ARMS if (ratio := outcome.click_through(name))]
    fresh = percentiles(freshness.recommendation_ms)["p50"]
    shown = ", ".join(rates)
    return (
        f"{outcome.events:,} events, {outcome.visits} visits; CTR {shown}; freshness p50 {fresh} ms"
    )


def conclude(report: Mapping[str, Any], say: Callable[[str], None], folder: Path = REPORTS) -> int:
    """Write and print the report; 0 when nothing was lost, else 1 with what was."""
    path = write_report("demo", report, folder)
    wrong = faults(report)
    say(f"done; the report is {path}\n\n{show(report)}\n")
    for fault in wrong:
        say(f"FAULT: {fault}")
    return 1 if wrong else 0


def _stay_open(stack: Stack, say: Progress) -> None:
    """Keep the store open until Ctrl-C. Raises StackError when a process ends by itself."""
    say(f"the store stays open at {stack.env['FRESHET_STORE_URL']}; Ctrl-C stops everything")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            stack.check()
            time.sleep(0.5)
    say("stopping")


def main(environ: Mapping[str, str]) -> int:
    """Run the demo on the default stack; the exit code."""
    say = Progress()
    warnings.filterwarnings("ignore", message="Connecting to Bigtable emulator")
    try:
        config = Config.from_env(environ)
        with running_stack(config.stack, config.ports, EMULATORS, say=say) as stack:
            os.environ.update(stack.env)  # Bigtable's client learns of its emulator in no other way
            code = asyncio.run(Demo(stack, config, say).run())
            if sys.stdout.isatty():
                _stay_open(stack, say)
            return code
    except (StackError, Missing, StepFailed, TimeoutError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main(os.environ))
