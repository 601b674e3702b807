"""`make fuzz`: each protocol's parser, and all that follows until Pub/Sub, with mutated requests.
Any exception fails.

What is driven is what the collector calls for a request: `read`, `sort_events`, the message and the
dead letters, `accepted` or `refused`. A request that is refused is no failure; an exception other
than `InvalidEvent` is, and so are an answer that is no JSON and a request that takes long for its
size: processor time, for other programs share the machine. `python -m tests.bench.fuzz segment
--input BASE64` does one again, as it was printed.
"""

from __future__ import annotations

import argparse
import base64
import random
import re
import sys
import time
import traceback
import zlib
from collections.abc import Iterator, Mapping

import msgspec

from functions.accept import Terms, sort_events
from functions.access.admission import presented_keys
from functions.contract.schemas import EVENTS
from functions.enrich.bots import bot_reason
from functions.enrich.context import request_context
from functions.enrich.user_agents import UserAgents
from functions.http.exchange import Answer, Incoming, Refusal
from functions.protocols.contract import Outcome, Reading, Rejected, VendorProtocol
from functions.protocols.registry import PROTOCOLS
from functions.publisher import message
from pipeline.core.events import decode_message, encode_message
from pipeline.core.invalid_event import InvalidEvent, TooMuch
from pipeline.core.json_limits import MESSAGE_TIMES, check_work
from pipeline.core.privacy.policy import Privacy
from pipeline.runtime.headers import Headers
from tests.bench.fuzz_corpus import NOW, FuzzRequest, corpus
from tests.bench.fuzz_mutations import mutated
from tests.simulator.report import machine_line

INPUTS, SECONDS = 1_000_000, 60.0
MAX_INPUT_BYTES = 64 * 1024
MAX_INPUT_S = 0.25
REPEATS = 3
MAX_GROWN = 2000
MAX_SHOWN = 10

_DIGITS = re.compile(r"[0-9]+")


class Unfit(AssertionError):
    """An answer or a message that its receiver could not read."""


class Fault(msgspec.Struct, frozen=True):
    """One way to fail.

    Attributes:
        kind: by which two of them are the same: the exception and where it was raised, or `slow`.
        text: for people.
        request: what does it.
    """

    kind: str
    text: str
    request: FuzzRequest


class Found(msgspec.Struct):
    """What a run came to: inputs, seconds, how many outcomes that differ by more than numbers,
    faults by kind.
    """

    inputs: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    slowest: FuzzRequest | None = None
    outcomes: set[str] = msgspec.field(default_factory=set)
    faults: dict[str, Fault] = msgspec.field(default_factory=dict)

    def line(self, name: str) -> str:
        """The figures on one line."""
        return (
            f"{name:<10} {self.inputs:>9,} inputs in {self.seconds:5.1f} s "
            f"({self.inputs / self.seconds:,.0f}/s), "
            f"{len(self.outcomes):,} distinct outcomes, slowest {self.slowest_s * 1e3:.0f} ms, "
            f"{len(self.faults)} failures"
        )


def fuzz(
    name: str,
    inputs: int = INPUTS,
    seconds: float = SECONDS,
    seed: int = 0,
    protocol: VendorProtocol | None = None,
) -> Found:
    """Drive one protocol; what has an outcome not seen before is mutated further.

    Args:
        name: a key of `PROTOCOLS`, whose clients' requests are mutated.
        inputs, seconds: whichever is over first ends it.
        seed: the same inputs again for the same seed and code.
        protocol: what reads them; None: that of the name.
    """
    protocol = protocol or PROTOCOLS[name]
    rng, seeds, found = random.Random(f"{seed}:{name}"), corpus(name), Found()
    start = time.perf_counter()
    for request in _requests(rng, seeds):
        outcome, took_s = _timed(protocol, request, found)
        if took_s > found.slowest_s:
            found.slowest_s, found.slowest = took_s, request
        if outcome not in found.outcomes:
            found.outcomes.add(outcome)
            seeds[len(seeds) if len(seeds) < MAX_GROWN else rng.randrange(MAX_GROWN) :] = [request]
        found.inputs += 1
        found.seconds = time.perf_counter() - start
        if found.inputs >= inputs or found.seconds >= seconds:
            break
    return found


def _requests(rng: random.Random, seeds: list[FuzzRequest]) -> Iterator[FuzzRequest]:
    yield from tuple(seeds)
    while True:
        request = mutated(rng.choice(seeds), seeds, rng)
        if request.size <= MAX_INPUT_BYTES:
            yield request


def _timed(protocol: VendorProtocol, request: FuzzRequest, found: Found) -> tuple[str, float]:
    start = time.thread_time()
    try:
        outcome = drive(protocol, request)
    except Exception as error:
        fault = _fault(error, request)
        found.faults.setdefault(fault.kind, fault)
        return f"failed: {fault.kind}", time.thread_time() - start
    took_s = time.thread_time() - start
    if took_s > MAX_INPUT_S:
        took_s = fastest_s(protocol, request)
        if took_s > MAX_INPUT_S:
            fault = Fault("slow", f"{took_s * 1e3:.0f} ms for {request.size} bytes", request)
            found.faults.setdefault(fault.kind, fault)
    return outcome, took_s


def fastest_s(protocol: VendorProtocol, request: FuzzRequest) -> float:
    """Processor seconds that it takes at best: now and then garbage is collected in the middle of
    it.
    """
    took_s = []
    for _ in range(REPEATS):
        start = time.thread_time()
        drive(protocol, request)
        took_s.append(time.thread_time() - start)
    return min(took_s)


def _fault(error: Exception, request: FuzzRequest) -> Fault:
    frames = traceback.extract_tb(error.__traceback__)
    place = next(
        (f for f in reversed(frames) if "/functions/" in f.filename or "/pipeline/" in f.filename),
        frames[-1],
    )
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
    return Fault(
        f"{type(error).__name__} at {where}",
        f"{type(error).__name__} at {where}: {error!s:.200}",
        request,
    )


# ---- one request


def drive(protocol: VendorProtocol, request: FuzzRequest) -> str:
    """What the collector does with a request, but for sites, limits and the network.

    Returns the outcome in words, numbers aside.

    Raises:
        Exception: whatever the code under test lets out, and `Unfit`.
    """
    raw = {
        name.encode("latin-1"): value.encode("latin-1") for name, value in request.headers.items()
    }
    incoming = Incoming(
        request.method, request.path, request.query, Headers(raw), request.body, NOW
    )
    try:
        reading = protocol.read(incoming)
        return _sorted(protocol, incoming, reading)
    except TooMuch as error:
        return _told(protocol.refused(incoming, Refusal(413, error.field, error.reason)), "refused")
    except InvalidEvent as error:
        presented_keys(incoming)
        message(incoming.body or incoming.query.encode("latin-1"), _dead_letter(error))
        answer = protocol.refused(
            incoming, Refusal(400, error.field, error.reason, value=error.value)
        )
        return _told(answer, "refused", error)


def _sorted(protocol: VendorProtocol, incoming: Incoming, reading: Reading) -> str:
    found = sort_events(reading, NOW, _terms(incoming.headers, reading))
    if found.events:
        data = encode_message(found.events)
        check_work(data, "events", MESSAGE_TIMES)
        message(data, {"protocol": "x"})
        if len(decode_message(data)) != len(found.events):
            raise Unfit("the pipeline reads other events")
    for rejection in found.rejected:
        message(rejection.payload or b"", _dead_letter(rejection.error))
    if found.accepted + len(found.rejected) != len(reading.events):
        raise Unfit("events were lost")
    rejected = [Rejected(r.index, r.error, r.event_id) for r in found.rejected]
    answer = protocol.accepted(incoming, Outcome(found.accepted, rejected, found.withheld))
    kinds = ",".join(sorted({event.event for event in found.events}.intersection(EVENTS))[:3])
    return _told(
        answer, f"{min(found.accepted, 2)} of {kinds}", rejected[0].error if rejected else None
    )


def _terms(headers: Mapping[str, str], reading: Reading) -> Terms:
    """As for a browser, so that agents and languages are read too; in its own time, for nobody
    waits here.
    """
    if reading.history:
        return Terms(agents=_agents, keeps_bot=True)
    agent = headers.get("user-agent")
    context = request_context(agent, headers.get("accept-language"), None, _agents)
    privacy = Privacy()
    return Terms(
        privacy,
        privacy.signal(headers),
        visitor_id="v1",
        context=context,
        agents=_agents,
        bot=bot_reason(agent, headers, _agents),
    )


_agents = UserAgents(time.monotonic)


def _dead_letter(error: InvalidEvent) -> dict[str, str]:
    return {"field": error.field[:256], "reason": error.reason[:256]}


def _told(answer: Answer, outcome: str, error: InvalidEvent | None = None) -> str:
    if answer.content_type.endswith("json") and answer.body:
        msgspec.json.decode(answer.body)
    for name, value in answer.headers.items():
        f"{name}: {value}".encode("latin-1")
    field = error.field.partition(".")[0] if error else ""
    reason = error.reason if error else ""
    return _DIGITS.sub("#", f"{answer.status} {outcome} {field[:30]}: {reason[:60]}")


# ---- the command


def main(arguments: list[str]) -> int:
    """Run it; exit code 1 where something failed."""
    parser = argparse.ArgumentParser(
        prog="fuzz", description="Mutated requests for each protocol's parser."
    )
    parser.add_argument(
        "protocols",
        nargs="*",
        metavar="PROTOCOL",
        help=f"some of {', '.join(PROTOCOLS)}; none: all",
    )
    parser.add_argument("--inputs", type=int, default=INPUTS, help="for each protocol")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each protocol, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--input", help="one that failed, as printed: do it again for the protocol named"
    )
    given = parser.parse_args(arguments)
    names = given.protocols or list(PROTOCOLS)
    if unknown := set(names) - set(PROTOCOLS):
        parser.error(f"expected some of {', '.join(PROTOCOLS)}, got {', '.join(sorted(unknown))}")
    if given.input:
        print(drive(PROTOCOLS[names[0]], from_printed(given.input)))
        return 0
    print(f"machine: {machine_line()}; seed {given.seed}", flush=True)
    failed = 0
    for name in names:
        found = fuzz(name, given.inputs, given.seconds, given.seed)
        failed += len(found.faults)
        print(found.line(name), flush=True)
        for fault in list(found.faults.values())[:MAX_SHOWN]:
            print(f"  {fault.text}\n    --input {printed(fault.request)}", flush=True)
    return 1 if failed else 0


def printed(request: FuzzRequest) -> str:
    """A request as one word: base64, compressed."""
    return base64.b64encode(zlib.compress(msgspec.msgpack.encode(request), 9)).decode()


def from_printed(text: str) -> FuzzRequest:
    """Of `printed`."""
    return msgspec.msgpack.decode(zlib.decompress(base64.b64decode(text)), type=FuzzRequest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
