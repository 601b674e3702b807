"""Privacy signals: only the value 1 counts, and of two the one that binds."""

from __future__ import annotations

import pytest

from pipeline.core.privacy.policy import Privacy
from pipeline.core.privacy.signals import Signal, signal_of


@pytest.mark.parametrize(
    ("headers", "signal"),
    [
        ({}, None),
        ({"dnt": "1"}, Signal.DNT),
        ({"sec-gpc": "1"}, Signal.GPC),
        ({"dnt": "1", "sec-gpc": "1"}, Signal.GPC),
        ({"dnt": "0", "sec-gpc": "0"}, None),
        ({"dnt": "null"}, None),
        ({"sec-gpc": "?1", "dnt": "true"}, None),
        ({"sec-gpc": " 1 "}, Signal.GPC),
        ({"dnt": "1\t"}, Signal.DNT),
        ({"sec-gpc": "0, 1", "dnt": "1"}, Signal.GPC),
        ({"dnt": "1,0"}, Signal.DNT),
        ({"dnt": "0, 11", "sec-gpc": ", "}, None),
    ],
)
def test_only_the_value_1_is_a_signal_and_the_one_that_binds_goes_first(
    headers: dict[str, str], signal: Signal | None
) -> None:
    assert signal_of(headers) is signal
    assert Privacy().signal(headers) is signal
    assert Privacy(signals=False).signal(headers) is None
