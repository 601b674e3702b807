"""Outlives the stack's own process for a moment, to kill what that one left behind when it was
killed itself.

Reads "+group" and "-group" lines; at the end of input kills the process groups that still count as
running.
"""

import os
import signal
import sys


def main() -> None:
    """Runs until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        groups.add(group) if line[0] == "+" else groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


if __name__ == "__main__":
    main()
