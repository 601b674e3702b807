"""Entry point of the Flex Template's launcher: it says all in options, while the pipeline asks its
environment too.
"""

from __future__ import annotations

import argparse
import os
import sys

from pipeline import main as pipeline


def main(argv: list[str]) -> None:
    """Run the pipeline on the project that `--project` names; a job that is refused says why, in
    one line.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--project", required=True)
    known, _ = parser.parse_known_args(argv)
    os.environ.setdefault("GOOGLE_CLOUD_PROJECT", known.project)
    pipeline.main(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
