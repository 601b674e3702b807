"""The offline evaluation asks before it learns, and counts what a prior of given weights would
show.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.features.ranking import COLUMN, FEATURE_NAMES, PRIOR_WEIGHTS
from tests.bench.offline import Question, figures, main, questions, ranks
from tests.simulator.evaluation import K

COLUMNS = (
    "event_time event_type product_id category_id category_code brand price user_id user_session"
).split()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Ten visits to the same three items of one brand, in a shop of fifty others."""
    rows = [_row(minute, f"{minute % 50 + 100}", "other", f"o{minute}") for minute in range(50)]
    for visit in range(10):
        rows += [_row(50 + visit, str(item), "chosen", f"s{visit}") for item in (1, 2, 3)]
    path = tmp_path / "log.csv"
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _row(minute: int, item: str, brand: str, session: str) -> dict[str, str]:
    return {
        "event_time": f"2019-10-01 {minute // 60:02d}:{minute % 60:02d}:00 UTC",
        "event_type": "view",
        "product_id": item,
        "category_id": "7",
        "category_code": "",
        "brand": brand,
        "price": "9.5",
        "user_id": f"u-{session}",
        "user_session": session,
    }


def test_views_that_follow_another_are_asked_about_with_what_was_known_before_them(
    file: Path,
) -> None:
    asked = questions(file, 1_000)

    assert len(asked) == 20
    assert all(question.is_new for question in asked)
    # nothing but the item itself is linked yet
    assert asked[0].matrix[:, COLUMN["covisit_last"]].sum() <= 1.0
    # what was seen comes first, then what goes with it
    assert ranks(asked[-2:], PRIOR_WEIGHTS) == [1, 2]


def test_weights_change_what_comes_first(file: Path) -> None:
    asked = questions(file, 1_000)

    # what was seen makes way for it
    assert ranks(asked[-1:], {**PRIOR_WEIGHTS, "seen": -50.0}) == [0]


def test_an_item_that_was_no_candidate_is_no_hit() -> None:
    assert ranks(
        [Question(np.zeros((3, len(FEATURE_NAMES)), np.float32), None, True)], PRIOR_WEIGHTS
    ) == [K]
    assert figures([0, 1, K, K]) == (0.5, 0.375)
    assert figures([]) == (0.0, 0.0)


def test_the_command_prints_both_halves_and_names_what_is_wrong(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(file), "recency=2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("shipped") == printed.count("changed") == 2
    assert main([str(file) + ".missing"]) == 2
    with pytest.raises(SystemExit):
        main([str(file), "no_such_feature=1"])
    assert "expected a feature's name and a weight" in capsys.readouterr().err
