"""Files of dead letters, as an operator exports and edits them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from functions.dead_letters.stored import (
    InvalidFile,
    StoredDeadLetter,
    check_dead_letters,
    read_dead_letters,
    write_dead_letters,
)

DEAD_LETTER = StoredDeadLetter(
    dead_letter_id="l1", received_at="2024-12-31T23:00:00Z", payload='{"event":"click"}'
)


def test_a_file_that_was_written_is_read_again_and_only_its_owner_may_read_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "dead-letters.jsonl"
    assert write_dead_letters(file, [DEAD_LETTER, DEAD_LETTER]) == 2
    assert list(read_dead_letters(file)) == [DEAD_LETTER, DEAD_LETTER]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_could_not_be_written_whole_is_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "dead-letters.jsonl"
    write_dead_letters(file, [DEAD_LETTER])
    with pytest.raises(ZeroDivisionError):
        write_dead_letters(file, (DEAD_LETTER for _ in [1 // 0]))
    assert list(tmp_path.iterdir()) == [file] and check_dead_letters(file) == 1


def test_a_payload_may_be_the_json_itself_and_lines_as_editors_write_them(tmp_path: Path) -> None:
    file = tmp_path / "dead-letters.jsonl"
    line = json.dumps(
        {
            "dead_letter_id": "l1",
            "received_at": DEAD_LETTER.received_at,
            "payload": {"event": "click"},
        }
    )
    file.write_bytes(b"\xef\xbb\xbf" + line.encode() + b"\r\n\r\n")
    [dead_letter] = read_dead_letters(file)
    assert json.loads(dead_letter.payload) == {"event": "click"}


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"dead_letter_id": "x"}', "\\ud800", '{"dead_letter_id": 5}', "[" * 100_000],
)
def test_a_line_that_is_no_dead_letter_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "dead-letters.jsonl"
    write_dead_letters(file, [DEAD_LETTER])
    with file.open("a") as opened:
        opened.write(line + "\n")
    with pytest.raises(InvalidFile, match=r"dead-letters\.jsonl line 2: expected a dead letter"):
        check_dead_letters(file)
