"""`make schemas` prints the tracking plan; with `ARGS=--docs` it writes docs/tracking-plan.md anew."""

from __future__ import annotations

import sys

from functions.schemas.table import DOCUMENT, documented, tables


def main(arguments: list[str]) -> int:
    """Print or write; the exit status."""
    if arguments not in ([], ["--docs"]):
        sys.stderr.write(f"expected nothing or --docs, got {arguments}\n")
        return 2
    if arguments:
        DOCUMENT.write_text(documented(DOCUMENT.read_text("utf-8"), tables()), "utf-8")
    else:
        sys.stdout.write(tables() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
