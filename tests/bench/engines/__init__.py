"""Freshet's per-visitor features, and the same features on other stream engines, on one stream:
`run` compares them.
"""

from __future__ import annotations

from tests.bench.rows import Row


def run() -> list[Row]:
    """Compare the engines; about four minutes, and a few more the first time, for their
    environment.
    """
    # the engines' environment imports this package and lacks what it needs
    from tests.bench.engines import comparison

    return comparison.run()
