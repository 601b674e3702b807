"""The floor: a loop over the messages, one visitor after the other in a dictionary, no engine."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.bench.engines.contract import Features
from tests.bench.engines.ours_features import Visitor


def features(lines: Iterable[str]) -> Iterator[Features]:
    """Every visitor's features after the last of `lines`, each a message."""
    visitors: defaultdict[str, Visitor] = defaultdict(Visitor)
    for line in lines:
        for event in json.loads(line):
            visitors[event["user_id"]].add(event)
    return (visitor.features(user_id) for user_id, visitor in visitors.items())


def main(source: str, sink: str) -> None:
    """Read the messages in `source`, write the features to `sink`."""
    with open(source, encoding="utf-8") as lines, open(sink, "w", encoding="utf-8") as answer:
        answer.writelines(json.dumps(each) + "\n" for each in features(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
