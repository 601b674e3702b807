"""Network addresses: how much each sends, and the anomaly rules about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer

from pipeline.core.privacy.address_counts import AddressCounts
from pipeline.core.profile_keys import is_browser_key
from pipeline.core.rules import Anomaly, Rules, anomalies
from pipeline.runtime.clock import now_ms
from pipeline.runtime.metrics import Counter
from pipeline.steps.decode import BY_BROWSER, MARK
from pipeline.steps.keyed_state import until_drained
from pipeline.steps.profiles import ANOMALIES

FORGET_AFTER_S = 1800.0  # an address that is silent for so long has nothing left in its windows


Visit = tuple[str, int]
"""Of an event: its profile key and time in ms."""


class Watched(msgspec.Struct, array_like=True):
    """State of an address: its encoded `AddressCounts`, and by rule the last anomaly."""

    counts: bytes = b""
    found: dict[str, Anomaly] = {}


@dataclass(slots=True)
class Findings:
    """Anomalies that a message's events brought to light, and marks by profile key."""

    anomalies: list[Anomaly]
    marks: list[tuple[str, Anomaly]]


class AddressWatch:
    """Events of one address into its counts, by the rules; no state of its own, no clock."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules.anomalies_of("address")

    def add(self, address: str, watched: Watched, visits: Sequence[Visit]) -> Findings:
        """Count the visits in `watched`, in place, and mark their visitors while an anomaly lasts.

        Args:
            visits: at least one.
        """
        counts = AddressCounts.decode(watched.counts) if watched.counts else AddressCounts()
        for visitor, time_ms in visits:
            counts.add(visitor, time_ms)
        watched.counts = counts.encode()
        at_ms = max(time_ms for _, time_ms in visits)
        known = {rule: anomaly.until_ms for rule, anomaly in watched.found.items()}
        found = anomalies(self._rules, counts.signals(at_ms), known, at_ms, key=address)
        watched.found.update({anomaly.rule: anomaly for anomaly in found})
        marking = [one for one in watched.found.values() if one.marks and one.until_ms > at_ms]
        visitors = sorted({visitor for visitor, _ in visits})
        return Findings(
            found, [(visitor, one.about(visitor)) for visitor in visitors for one in marking]
        )


class WatchAddress(beam.DoFn):
    """`AddressWatch` on state that is kept by address; see `WatchAddresses`."""

    STATE = ReadModifyWriteStateSpec("state", BytesCoder())
    EXPIRY = TimerSpec("expiry", TimeDomain.WATERMARK)

    def __init__(self, rules: Rules) -> None:
        self._watch = AddressWatch(rules)
        self._anomalies = Counter("rules", "address_anomalies")

    def process(
        self,
        element: tuple[str, list[Visit]],
        state: Any = beam.DoFn.StateParam(STATE),
        expiry: Any = beam.DoFn.TimerParam(EXPIRY),
    ) -> Iterator[Any]:
        address, visits = element
        encoded = state.read()
        watched = _decoder.decode(encoded) if encoded else Watched()
        findings = self._watch.add(address, watched, visits)
        self._anomalies.inc(len(findings.anomalies))
        for anomaly in findings.anomalies:
            yield TaggedOutput(ANOMALIES, anomaly)
        for visitor, anomaly in findings.marks:
            mark = (visitor, (MARK, anomaly))
            yield TaggedOutput(BY_BROWSER, mark) if is_browser_key(visitor) else mark
        state.write(_encoder.encode(watched))
        expiry.set(until_drained(now_ms() / 1000 + FORGET_AFTER_S))

    @on_timer(EXPIRY)
    def forget(self, state: Any = beam.DoFn.StateParam(STATE)) -> None:
        state.clear()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Watched)


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
