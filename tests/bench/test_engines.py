"""The features that the engines are compared on: order, doubles and splits change nothing."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from tests.bench.engines import comparison, data, ours_beam, ours_plain
from tests.bench.engines.contract import SEEN_IDS, Event
from tests.bench.engines.lines import code_lines
from tests.bench.engines.ours_features import Visitor
from tests.bench.engines.reference import Answer, differences, expected, read_answer


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small stream, late and doubled, in which one visitor outgrows the remembered ids."""
    path = tmp_path_factory.mktemp("engines") / "messages.jsonl"
    data.write_stream(path, data.seeded_events(900), repeats=4)
    return path


@pytest.fixture(scope="module")
def right(stream: Path) -> Answer:
    return expected(stream.read_text(encoding="utf-8").splitlines())


def test_the_stream_is_late_and_doubled_and_has_a_visitor_with_more_events_than_are_remembered(
    stream: Path,
) -> None:
    events: list[Event] = [
        e for line in stream.read_text(encoding="utf-8").splitlines() for e in json.loads(line)
    ]
    times = [event["time_ms"] for event in events]
    visitors: dict[str, set[str]] = {}
    for event in events:
        visitors.setdefault(event["user_id"], set()).add(event["event_id"])
    assert times != sorted(times)
    assert len({event["event_id"] for event in events}) == 3_600 < len(events)
    assert max(map(len, visitors.values())) > SEEN_IDS


def test_plain_python_gives_what_the_definition_says(
    stream: Path, right: Answer, tmp_path: Path
) -> None:
    ours_plain.main(str(stream), str(tmp_path / "answer"))
    assert differences(right, read_answer(tmp_path / "answer")) == []


def test_beam_gives_what_the_definition_says(stream: Path, right: Answer, tmp_path: Path) -> None:
    ours_beam.main(str(stream), str(tmp_path / "answer"))
    assert differences(right, read_answer(tmp_path / "answer")) == []


@pytest.mark.parametrize("seed", range(5))
def test_states_folded_apart_and_merged_give_the_same_though_both_saw_some_events(
    seed: int,
) -> None:
    rng = random.Random(seed)
    events = [Event(**{**event, "user_id": "v"}) for event in data.seeded_events(150, seed)]
    left, other, whole = Visitor(), Visitor(), Visitor()
    for event in events:
        whole.add(event)
        for side in rng.choice(([left], [other], [left, other])):
            side.add(event)
    other.merge(left)
    assert differences({"v": whole.features("v")}, {"v": other.features("v")}) == []


def test_a_difference_names_the_visitor_and_the_feature(right: Answer) -> None:
    user_id, features = next(iter(right.items()))
    off = {**right, user_id: {**features, "windows": {**features["windows"], "1 h": [9] * 14}}}
    [difference] = differences(right, off)  # type: ignore[arg-type]
    assert difference.startswith(f"{user_id}: window 1 h [9, ")


def test_an_interest_that_is_off_by_more_than_the_tolerance_is_a_difference(right: Answer) -> None:
    user_id, features, key = next(
        (u, f, k) for u, f in right.items() for k, v in f["category"]["7 d"].items() if v > 0
    )
    long = {**features["category"]["7 d"], key: features["category"]["7 d"][key] * (1 + 1e-8)}
    off = {**right, user_id: {**features, "category": {**features["category"], "7 d": long}}}
    [difference] = differences(right, off)  # type: ignore[arg-type]
    assert "category interest 7 d in" in difference


def test_a_visitor_without_an_answer_is_a_difference(right: Answer) -> None:
    user_id = min(right)
    assert differences(right, {u: f for u, f in right.items() if u != user_id}) == [
        f"{user_id}: missing"
    ]


def test_blank_lines_comments_docstrings_and_imports_are_no_lines_of_code() -> None:
    left_out = '"""Doc\nstring."""\n\nimport os\nfrom a import (\n    b,\n)\n# why\n'
    assert code_lines(left_out) == 0
    assert code_lines(left_out + 'x = """two\nlines"""\ny = f(  # why\n    x,\n)\n') == 5


def test_lines_of_named_classes_alone() -> None:
    source = 'class A:\n    """Doc."""\n\n    x = 1\n\n\nclass B:\n    y = 2\n    z = 3\n'
    assert code_lines(source, ["B"]) == 3


def _engine(module: str) -> comparison.Engine:
    return comparison.Engine(module, module, Path(sys.executable), module, ("ours_plain.py",))


@pytest.fixture(scope="module")
def folder(stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a comparison reads: the first message and all of them."""
    folder = tmp_path_factory.mktemp("comparison")
    messages = stream.read_text(encoding="utf-8")
    (folder / "messages.jsonl").write_text(messages, encoding="utf-8")
    (folder / "first.jsonl").write_text(messages.splitlines(keepends=True)[0], encoding="utf-8")
    return folder


def test_an_engine_that_does_not_run_is_reported_with_the_reason(
    folder: Path, right: Answer
) -> None:
    results = comparison.compare([_engine("ours_plain"), _engine("no_such_engine")], folder, right)
    words = comparison.report(results, len(right), 1_000)
    assert "no_such_engine DOES NOT AGREE: exit code 1: " in words and "No module named" in words
    found = {row["name"]: row["value"] for row in comparison.rows(results, len(right), 1_000)}
    assert (
        found["engines_no_such_engine_disagreeing"] == len(right)
        and "engines_no_such_engine" not in found
    )
    assert found["engines_ours_plain_disagreeing"] == 0


def test_an_engine_whose_answer_differs_is_reported_with_the_first_difference(
    folder: Path, right: Answer
) -> None:
    user_id = min(right)
    other: Answer = {**right, user_id: {**right[user_id], "now_ms": 5}}
    results = comparison.compare([_engine("ours_plain")], folder, other)
    assert f"ours_plain DOES NOT AGREE: {user_id}: now_ms " in comparison.report(
        results, len(right), 1_000
    )
    assert "all answers agree" not in comparison.report(results, len(right), 1_000)


def test_all_answers_that_agree_are_said_to_agree(folder: Path, right: Answer) -> None:
    results = comparison.compare([_engine("ours_plain")], folder, right)
    assert "all answers agree" in comparison.report(results, len(right), 1_000)
