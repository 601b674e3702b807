"""Network addresses: how much each sends, and the anomaly rules about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer

from pipeline.core.privacy.address_counts import AddressCounts
from pipeline.core.rules import Anomaly, Rules, anomalies
from pipeline.runtime.clock import now_ms
from pipeline.runtime.metrics import Counter
from pipeline.steps.decode import BY_BROWSER, MARK
from pipeline.steps.keyed_state import until_drained
from pipeline.steps.profiles import ANOMALIES

FORGET_AFTER_S = 1800.0  # an address that is silent for so long has nothing left in its windows


class _Watched(msgspec.Struct, array_like=True):
    counts: bytes
    found: dict[str, Anomaly]  # by rule, the last one


class WatchAddress(beam.DoFn):
    """Counts by address; see `WatchAddresses`."""

    STATE = ReadModifyWriteStateSpec("state", BytesCoder())
    EXPIRY = TimerSpec("expiry", TimeDomain.WATERMARK)

    def __init__(self, rules: Rules) -> None:
        self._rules = rules.anomalies_of("address")
        self._anomalies = Counter("rules", "address_anomalies")

    def process(
        self,
        element: tuple[str, list[tuple[str, int]]],
        state: Any = beam.DoFn.StateParam(STATE),
        expiry: Any = beam.DoFn.TimerParam(EXPIRY),
    ) -> Iterator[Any]:
        address, events = element
        encoded = state.read()
        watched = _decoder.decode(encoded) if encoded else _Watched(b"", {})
        counts = AddressCounts.decode(watched.counts) if watched.counts else AddressCounts()
        for visitor, time_ms in events:
            counts.add(visitor, time_ms)
        at_ms = max(time_ms for _, time_ms in events)
        known = {rule: anomaly.until_ms for rule, anomaly in watched.found.items()}
        for anomaly in anomalies(self._rules, counts.signals(at_ms), known, at_ms, key=address):
            watched.found[anomaly.rule] = anomaly
            self._anomalies.inc()
            yield TaggedOutput(ANOMALIES, anomaly)
        marking = [
            anomaly
            for anomaly in watched.found.values()
            if anomaly.marks and anomaly.until_ms > at_ms
        ]
        for visitor in sorted({visitor for visitor, _ in events} if marking else ()):
            for anomaly in marking:
                mark = (visitor, (MARK, anomaly.about(visitor)))
                yield TaggedOutput(BY_BROWSER, mark) if visitor.startswith("a#") else mark
        state.write(_encoder.encode(_Watched(counts.encode(), watched.found)))
        expiry.set(until_drained(now_ms() / 1000 + FORGET_AFTER_S))

    @on_timer(EXPIRY)
    def forget(self, state: Any = beam.DoFn.StateParam(STATE)) -> None:
        state.clear()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Watched)


class WatchAddresses(beam.PTransform):
    """Find what no person's network address sends, and mark who is behind it.

    Keyed by address, global window; state is an `AddressCounts` (at most 1.5 kB), forgotten after
    half an hour of silence. Outputs: main and `BY_BROWSER`, marks for the profiles of accounts and
    browsers; `ANOMALIES`.
    """

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self._rules = rules

    def expand(self, counts: PCollection) -> Any:
        return counts | beam.ParDo(WatchAddress(self._rules)).with_outputs(
            BY_BROWSER, ANOMALIES, main="marks"
        )
