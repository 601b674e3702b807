"""What `make demo` reports: figures for machines and for people, and what was lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.simulator.client import Tally
from tests.simulator.freshness import Freshness
from tests.simulator.report import machine, machine_line, table
from tests.simulator.statistics import Ratio, percentiles
from tests.simulator.traffic import ARMS, Outcome
from tests.simulator.warehouse import LogCount


def build_report(
    outcome: Outcome, freshness: Freshness, tally: Tally, log: LogCount
) -> dict[str, Any]:
    """The machine-readable report."""
    arms = {name: outcome.click_through(name) for name in ARMS}
    found = outcome.lift()
    return {
        "events_sent": tally.sent,
        "events_accepted": tally.accepted,
        "events_in_log": log.distinct,
        "ctr": {name: round(ratio.value, 5) if ratio else None for name, ratio in arms.items()},
        "lift": round(found.value, 4) if found else None,
        "lift_ci": [round(found.low, 4), round(found.high, 4)] if found else None,
        **freshness.report(),
        "api_ms": percentiles(tally.api_ms, points=(50, 99)),
        "events_rejected": tally.rejected,
        "events_unconfirmed": tally.unconfirmed,
        "duplicates_in_log": log.duplicates,
        "rejections": tally.errors,
        "ctr_95": {name: _interval(ratio) for name, ratio in arms.items()},
        "arms": {
            name: {
                "shoppers": ratio.shoppers,
                "clicks": ratio.clicks,
                "impressions": ratio.impressions,
            }
            for name, ratio in arms.items()
            if ratio
        },
        "live_events": outcome.events,
        "live_seconds": round(outcome.seconds, 1),
        "visits": outcome.visits,
        "broken_visits": outcome.broken_visits,
        "api_failures": tally.failed_answers,
        "served_by": tally.served_by,
        "retries": tally.retries,
        "machine": machine(),
    }


def _interval(ratio: Ratio | None) -> list[float] | None:
    return [round(end, 5) for end in ratio.interval] if ratio else None


def faults(report: Mapping[str, Any]) -> list[str]:
    """What was lost, each a line; nothing when all is well."""
    found = []
    if report["events_rejected"]:
        found.append(
            f"the collector rejected {report['events_rejected']} events: {report['rejections'][:3]}"
        )
    if report["events_unconfirmed"]:
        found.append(f"the collector never confirmed {report['events_unconfirmed']} events")
    if report["lost"]:
        found.append(f"accepted events are missing from the log: {report['lost']}")
    if (counted := report["events_in_profiles"]) != report["events_in_log"]:
        found.append(
            f"the profiles counted {counted} events, the log holds {report['events_in_log']}"
        )
    if report["freshness_lost"] or report["freshness_failed"]:
        found.append(
            f"of {report['freshness_probes']} probes {report['freshness_lost']} saw no change "
            "within 10 s, "
            f"{report['freshness_failed']} had no answer"
        )
    if report["broken_visits"]:
        found.append(f"{report['broken_visits']} visits broke off for want of an answer")
    return found


def show(report: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"machine           {machine_line()}",
        f"events            {report['events_sent']:,} sent, {report['events_accepted']:,} "
        "accepted, "
        f"{report['events_in_log']:,} in the log ({report['history_events']:,} of them past "
        "traffic)",
        f"live              {report['live_events']:,} events of {report['visits']:,} visits in "
        f"{report['live_seconds']:.0f} s",
        *(_arm_line(report, name) for name in ARMS),
        f"lift              {_lift(report)}",
        "",
        table(
            [
                ["milliseconds", "p50", "p95", "p99"],
                ["collector answer to changed profile", *_cells(report["freshness_profile_ms"])],
                [
                    "collector answer to changed recommendation",
                    *_cells(report["freshness_recommendation_ms"]),
                ],
                ["API answer, seen by the shopper", *_cells(report["api_ms"])],
            ]
        ),
        "",
        f"{report['freshness_probes']} freshness probes, {report['freshness_lost']} lost; model "
        f"{report['model_version']}, answers by {_counts(report['served_by'])} (trending: the "
        "popular half)",
    ]
    return "\n".join(lines)


def _arm_line(report: Mapping[str, Any], name: str) -> str:
    if name not in report["arms"]:
        return f"CTR {name:<14}nobody came"
    arm, interval = report["arms"][name], report["ctr_95"][name]
    return (
        f"CTR {name:<14}{report['ctr'][name]:.2%} ({interval[0]:.2%} to {interval[1]:.2%}): "
        f"{arm['clicks']:,} clicks on {arm['impressions']:,} impressions by {arm['shoppers']:,} "
        "shoppers"
    )


def _lift(report: Mapping[str, Any]) -> str:
    if report["lift"] is None:
        return "unknown: an arm has no click yet"
    low, high = report["lift_ci"]
    return f"{report['lift']:+.0%}, 95% interval {low:+.0%} to {high:+.0%}"


def _counts(served_by: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(served_by.items()))


def _cells(values: Mapping[str, float | None]) -> list[str]:
    return ["" if name not in values else str(values[name]) for name in ("p50", "p95", "p99")]
