"""Settings: from the environment, overridden by arguments, refused with a name when they make no
sense.
"""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions

from pipeline.options import arguments, as_options, subscription_path, topic_path

CLOUD = {"GOOGLE_CLOUD_PROJECT": "shop-1"}
LOCAL = {**CLOUD, "PUBSUB_EMULATOR_HOST": "127.0.0.1:1"}


@pytest.mark.parametrize("environ", [{}, {"GOOGLE_CLOUD_PROJECT": ""}])
def test_a_missing_project_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match="GOOGLE_CLOUD_PROJECT: required, expected a non-empty text"
    ):
        arguments(environ)


def test_on_google_cloud_the_defaults_suit_dataflow() -> None:
    options = as_options(arguments(CLOUD))
    assert options.events_subscription == "projects/shop-1/subscriptions/events-pipeline"
    assert (
        options.dead_letters_subscription == "projects/shop-1/subscriptions/dead-letters-pipeline"
    )
    assert (options.bigtable_instance, options.dataset, options.read) == (
        "freshet",
        "freshet",
        "both",
    )
    assert (options.session_gap_s, options.session_lateness_s) == (1800.0, 3600.0)
    assert (options.row_sink, options.state_ttl_s, options.trending_shards) == (
        "streaming_inserts",
        86_400.0,
        8,
    )
    assert (options.campaigns_topic, options.anomalies_topic) == (
        "projects/shop-1/topics/campaigns",
        "projects/shop-1/topics/anomalies",
    )
    assert (options.rules, options.write_flush_s, options.write_after_commit) == (
        "default",
        0.2,
        True,
    )
    assert options.view_as(GoogleCloudOptions).project == "shop-1"
    assert options.view_as(StandardOptions).streaming


def test_beside_an_emulator_the_defaults_suit_the_direct_runner() -> None:
    options = as_options(arguments(LOCAL))
    assert (options.row_sink, options.state_ttl_s, options.trending_shards) == (
        "insert_rows",
        0.0,
        1,
    )
    assert not options.write_after_commit


def test_names_come_from_the_environment() -> None:
    environ = {
        **LOCAL,
        "FRESHET_EVENTS_SUBSCRIPTION": "e",
        "FRESHET_DEAD_LETTER_SUBSCRIPTION": "projects/other/subscriptions/d",
        "FRESHET_BIGTABLE_INSTANCE": "i",
        "FRESHET_DATASET": "ds",
        "FRESHET_SESSION_LATENESS_S": "60",
        "FRESHET_CAMPAIGNS_TOPIC": "c",
        "FRESHET_ANOMALIES_TOPIC": "projects/other/topics/a",
        "FRESHET_RULES": "mine.yaml",
    }
    options = as_options(arguments(environ))
    assert options.events_subscription == "projects/shop-1/subscriptions/e"
    assert options.dead_letters_subscription == "projects/other/subscriptions/d"
    assert (options.bigtable_instance, options.dataset, options.session_lateness_s) == (
        "i",
        "ds",
        60.0,
    )
    assert (options.campaigns_topic, options.anomalies_topic, options.rules) == (
        "projects/shop-1/topics/c",
        "projects/other/topics/a",
        "mine.yaml",
    )


def test_arguments_override_the_environment() -> None:
    options = as_options(
        [*arguments(LOCAL), "--read=events", "--dataset=mine", "--trending_shards=3"]
    )
    assert (options.read, options.dataset, options.trending_shards) == ("events", "mine", 3)
    options = as_options(
        [*arguments(LOCAL), "--write_flush_s=0", "--write_after_commit=yes", "--rules=none"]
    )
    assert (options.write_flush_s, options.write_after_commit, options.rules) == (0.0, True, "none")


def test_a_subscription_is_a_name_or_a_full_path() -> None:
    assert subscription_path("p", "s") == "projects/p/subscriptions/s"
    assert subscription_path("p", "projects/q/subscriptions/s") == "projects/q/subscriptions/s"


def test_a_topic_is_a_name_or_a_full_path() -> None:
    assert topic_path("p", "t") == "projects/p/topics/t"
    assert topic_path("p", "projects/q/topics/t") == "projects/q/topics/t"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--read=all", "invalid choice: 'all'"),
        ("--row_sink=pigeon", "invalid choice: 'pigeon'"),
        ("--session_gap_s=0", "session_gap_s: expected a number above 0, got 0"),
        ("--session_gap_s=soon", "session_gap_s: invalid _positive value: 'soon'"),
        ("--session_lateness_s=-1", "session_lateness_s: expected a number above 0, got -1"),
        ("--state_ttl_s=-1", "state_ttl_s: expected a number of at least 0, got -1"),
        ("--state_ttl_s=nan", "state_ttl_s: expected a number of at least 0, got nan"),
        ("--write_flush_s=-0.1", "write_flush_s: expected a number of at least 0, got -0.1"),
        ("--write_flush_s=nan", "write_flush_s: expected a number of at least 0, got nan"),
        ("--write_after_commit=maybe", "write_after_commit: expected yes or no, got maybe"),
        ("--trending_shards=0", "trending_shards: expected 1 to 100, got 0"),
        ("--trending_shards=101", "trending_shards: expected 1 to 100, got 101"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_by_name(
    argument: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        as_options([*arguments(LOCAL), argument]).get_all_options()
    assert expected in capsys.readouterr().err
