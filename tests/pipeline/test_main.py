"""The graph as a whole: how it is connected, and what keeps it from starting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor

from pipeline.main import build
from pipeline.options import arguments, as_options
from pipeline.runtime.yaml_reader import InvalidFile
from pipeline.steps.decode import DecodeMessages
from pipeline.steps.profiles import FoldVisitors
from tests.pipeline.running import Visitor, facts, message
from tests.stack.prerequisites import REPO

STEPS = {
    "events": "ReadEvents Decode LogInvalid LogEvents WatchAddresses Browsers Accounts "
    "FoldProfiles WriteProfiles"
    " FoldItems WriteItems FoldQueries WriteQueries "
    "SummarizeSessions LogSessions Anomalies LogCampaigns "
    "CampaignsAsMessages PublishCampaigns"
    " LogAnomalies AnomaliesAsMessages PublishAnomalies".split(),
    "dead_letters": "ReadDeadLetters LogDeadLetters".split(),
}


@pytest.mark.parametrize("row_sink", ["insert_rows", "streaming_inserts"])
@pytest.mark.parametrize("read", ["events", "dead_letters", "both"])
def test_the_graph_has_the_steps_of_what_it_is_told_to_read(read: str, row_sink: str) -> None:
    environ = {"GOOGLE_CLOUD_PROJECT": "demo-project"}
    options = as_options([*arguments(environ), f"--read={read}", f"--row_sink={row_sink}"])
    pipeline = beam.Pipeline(options=options)
    build(pipeline, options)
    expected = STEPS["events"] + STEPS["dead_letters"] if read == "both" else STEPS[read]
    labels = [part.full_label for part in pipeline.transforms_stack[0].parts]
    assert labels == expected


class DoFns(PipelineVisitor):
    """The DoFns of a graph, pickled and set up as a worker does."""

    def __init__(self) -> None:
        self.found: list[beam.DoFn] = []

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        if isinstance(transform_node.transform, beam.ParDo):
            self.found.append(pickler.roundtrip(transform_node.transform.dofn))


def test_a_merge_in_either_fold_of_profiles_is_known_to_the_decoder_of_the_process() -> None:
    options = as_options(arguments({"GOOGLE_CLOUD_PROJECT": "demo-project"}))
    pipeline, dofns = beam.Pipeline(options=options), DoFns()
    build(pipeline, options)
    pipeline.visit(dofns)
    [decoder] = [dofn for dofn in dofns.found if isinstance(dofn, DecodeMessages)]
    folds = [dofn for dofn in dofns.found if isinstance(dofn, FoldVisitors)]
    visitors = [Visitor("one"), Visitor("two")]
    decoder.setup()
    for fold, visitor in zip(folds, visitors, strict=True):
        fold.setup()
        fold._links.add(f"a{visitor.tag}", visitor.tag)
    events = [visitor.logged_in("scroll") for visitor in visitors]
    routed = [output for output in decoder.process(message(*events)) if isinstance(output, tuple)]
    assert routed == [
        (visitor.key, facts(event)) for visitor, event in zip(visitors, events, strict=True)
    ]


def test_without_a_project_the_pipeline_does_not_start_and_says_why() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "GOOGLE_CLOUD_PROJECT"}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.main"],
        cwd=REPO,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "GOOGLE_CLOUD_PROJECT: required, expected a non-empty text" in done.stderr


def test_rules_that_make_no_sense_keep_the_pipeline_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("campaigns: 7")
    options = as_options([*arguments({"GOOGLE_CLOUD_PROJECT": "demo-project"}), f"--rules={path}"])
    with pytest.raises(InvalidFile, match="campaigns: expected a list, got '7'"):
        build(beam.Pipeline(options=options), options)
