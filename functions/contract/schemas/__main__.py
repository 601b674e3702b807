"""`make schemas` prints the tracking plan; with `ARGS=--write` it writes all that follows from it.

These are the schemas, the event names in the browser SDK's types, and docs/tracking-plan.md.
"""

from __future__ import annotations

import sys

from functions.contract.schemas import FOLDER, generate, sdk_types, table


def main(arguments: list[str]) -> int:
    """Print or write; the exit status."""
    if arguments not in ([], ["--write"]):
        sys.stderr.write(f"expected nothing or --write, got {arguments}\n")
        return 2
    if arguments:
        write()
    else:
        sys.stdout.write(table.tables() + "\n")
    return 0


def write() -> None:
    """Write the schemas, and the SDK's types and the tracking plan anew."""
    generate.write(FOLDER)
    sdk_types.TYPES.write_text(sdk_types.typed(sdk_types.TYPES.read_text("utf-8")), "utf-8")
    table.DOCUMENT.write_text(
        table.documented(table.DOCUMENT.read_text("utf-8"), table.tables()), "utf-8"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
