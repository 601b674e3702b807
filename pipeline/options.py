"""Settings of the pipeline: command-line options with defaults from the environment, checked at
start.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.runtime.environ import bigtable_instance, dataset_name, project_id

SOURCES = ("events", "dead_letters", "both")
ROW_SINKS = ("insert_rows", "streaming_inserts")
CLOUD_TRENDING_SHARDS = 8


class FreshetOptions(PipelineOptions):
    """Freshet's own options, beside Beam's."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        _add_sources(parser)
        _add_state(parser)
        _add_sinks(parser)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--events_subscription", help="subscription of the events topic: a name or full path"
    )
    parser.add_argument(
        "--dead_letters_subscription", help="subscription of the dead-letters topic"
    )
    parser.add_argument(
        "--read",
        choices=SOURCES,
        default="both",
        help="which subscriptions to read; the local stack gives each a process of its own, so "
        "that a flood of dead letters does not hold up events",
    )
    parser.add_argument(
        "--rules",
        default="default",
        help="YAML file of campaign and anomaly rules, or: default, none",
    )


def _add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--session_gap_s", type=_positive, default=1800.0, help="silence that ends a session"
    )
    parser.add_argument(
        "--session_lateness_s",
        type=_positive,
        default=3600.0,
        help="how late an event may refine its session",
    )
    parser.add_argument(
        "--state_ttl_s",
        type=_not_negative,
        default=0.0,
        help="forget Beam state of a key idle for so long (it is read back from Bigtable); 0: "
        "keep it, for the DirectRunner, which scans every open timer at each turn",
    )
    parser.add_argument(
        "--trending_shards",
        type=_count,
        default=1,
        help="rows that share the load of one trending scope",
    )


def _add_sinks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bigtable_instance", default="freshet", help="Bigtable instance")
    parser.add_argument(
        "--write_flush_s",
        type=_not_negative,
        default=0.2,
        help="write a row to Bigtable at most once in so long, the last state always; 0: at "
        "every change",
    )
    parser.add_argument(
        "--write_after_commit",
        type=_yes_or_no,
        default=True,
        help="yes: Bigtable gets a state only when the runner has committed it; no: at once, "
        "for the DirectRunner, which never tries a bundle again",
    )
    parser.add_argument("--dataset", default="freshet", help="BigQuery dataset")
    parser.add_argument(
        "--row_sink",
        choices=ROW_SINKS,
        default="streaming_inserts",
        help="how rows reach BigQuery; insert_rows suits the DirectRunner and an emulator",
    )
    parser.add_argument("--campaigns_topic", help="topic of campaign triggers: a name or full path")
    parser.add_argument("--anomalies_topic", help="topic of anomalies: a name or full path")


def arguments(environ: Mapping[str, str]) -> list[str]:
    """The environment's settings as command-line arguments; later arguments override them.

    Raises:
        InvalidConfig: naming a variable that is missing.
    """
    project = project_id(environ)
    events = environ.get("FRESHET_EVENTS_SUBSCRIPTION", "events-pipeline")
    dead_letters = environ.get("FRESHET_DEAD_LETTER_SUBSCRIPTION", "dead-letters-pipeline")
    campaigns = environ.get("FRESHET_CAMPAIGNS_TOPIC", "campaigns")
    anomalies = environ.get("FRESHET_ANOMALIES_TOPIC", "anomalies")
    return [
        "--streaming",
        f"--project={project}",
        f"--events_subscription={subscription_path(project, events)}",
        f"--dead_letters_subscription={subscription_path(project, dead_letters)}",
        f"--bigtable_instance={bigtable_instance(environ)}",
        f"--dataset={dataset_name(environ)}",
        f"--campaigns_topic={topic_path(project, campaigns)}",
        f"--anomalies_topic={topic_path(project, anomalies)}",
        f"--rules={environ.get('FRESHET_RULES', 'default')}",
        f"--session_lateness_s={environ.get('FRESHET_SESSION_LATENESS_S', '3600')}",
        *(_LOCAL if "PUBSUB_EMULATOR_HOST" in environ else _ON_CLOUD),
    ]


_LOCAL = ("--row_sink=insert_rows", "--write_after_commit=no")
_ON_CLOUD = (
    "--row_sink=streaming_inserts",
    "--write_after_commit=yes",
    "--state_ttl_s=86400",
    f"--trending_shards={CLOUD_TRENDING_SHARDS}",
)


def subscription_path(project: str, subscription: str) -> str:
    """The full path of a subscription given by name; a full path stays as it is."""
    if "/" in subscription:
        return subscription
    return f"projects/{project}/subscriptions/{subscription}"


def topic_path(project: str, topic: str) -> str:
    """The full path of a topic given by name; a full path stays as it is."""
    if "/" in topic:
        return topic
    return f"projects/{project}/topics/{topic}"


def as_options(argv: list[str], **overrides: Any) -> FreshetOptions:
    """The parsed options."""
    return PipelineOptions(argv, **overrides).view_as(FreshetOptions)


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"expected yes or no, got {text}")
    return text == "yes"


def _not_negative(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"expected 1 to 100, got {text}")
    return value
