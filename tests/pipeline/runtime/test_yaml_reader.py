"""Reading YAML: values within their bounds, and everything wrong named with its line."""

from __future__ import annotations

import pickle

import pytest

from pipeline.runtime.yaml_reader import InvalidFile, YamlReader, compose, span_text


def read(text: str) -> tuple[YamlReader, dict[str, object]]:
    reader = YamlReader("my.yaml")
    known = ("n", "whole", "text", "time")
    fields = reader.fields(compose(text, "my.yaml"), "root", (), known)
    return reader, {
        "n": reader.number(fields.get("n"), "root.n", 0.0, 1.0),
        "whole": reader.whole(fields.get("whole"), "root.whole", 1, 9),
        "text": reader.text(fields.get("text"), "root.text", 5),
        "time": reader.time_ms(fields.get("time"), "root.time"),
    }


def test_values_within_their_bounds_are_read() -> None:
    reader, found = read("n: 0.5\nwhole: 9\ntext: abc\ntime: 1970-01-01T01:00:01+01:00\n")
    reader.check()
    assert found == {"n": 0.5, "whole": 9, "text": "abc", "time": 1_000}


def test_absent_values_are_no_problem() -> None:
    reader, found = read("text: abc")
    reader.check()
    assert found == {"n": None, "whole": None, "text": "abc", "time": None}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("n: 2", "root.n: expected a number from 0 to 1, got '2'"),
        ("n: '0.5'", "root.n: expected a number from 0 to 1, got '0.5'"),
        ("whole: 1.5", "root.whole: expected a whole number from 1 to 9, got '1.5'"),
        ("whole: 10", "root.whole: expected a whole number from 1 to 9, got '10'"),
        ("text: abcdef", "root.text: expected a text of 1 to 5 characters, got 'abcdef'"),
        ("text: [a]", "root.text: expected a text of 1 to 5 characters, got a list"),
        (
            "time: 2026-11-27T00:00:00",
            "root.time: expected a time with its zone, such as 2026-11-27T00:00:00Z,"
            " got '2026-11-27T00:00:00'",
        ),
        ("whol: 1", "root: expected one of n, whole, text, time, got 'whol' (did you mean whole?)"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, problem: str) -> None:
    reader, _ = read(f"# a comment\n{text}")
    with pytest.raises(InvalidFile) as caught:
        reader.check()
    assert caught.value.problems == (f"my.yaml:2: {problem}",)


def test_text_that_is_no_yaml_is_named_with_its_line() -> None:
    with pytest.raises(InvalidFile, match=r"^my\.yaml:2: expected YAML, got "):
        compose("a: 1\nb: [", "my.yaml")


def test_an_error_survives_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(InvalidFile(["one", "two"])))
    assert error.problems == ("one", "two")


@pytest.mark.parametrize(
    ("span_ms", "text"), [(86_400_000, "1d"), (5_400_000, "90m"), (45_000, "45s"), (1500, "1.5s")]
)
def test_a_span_is_written_in_the_largest_unit_that_divides_it(span_ms: int, text: str) -> None:
    assert span_text(span_ms) == text
