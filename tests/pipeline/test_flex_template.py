"""The start by a Flex Template's launcher, as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from pipeline.lease import HeldLease, Holder
from pipeline.store.blocking import Bigtable
from pipeline.store.tables import ensure_tables
from tests.stack.prerequisites import REPO


def test_a_job_that_is_refused_says_so_to_the_launcher_in_one_line(
    emulators: Mapping[str, str], tag: str
) -> None:
    instance = Bigtable(emulators["GOOGLE_CLOUD_PROJECT"], f"flex-{tag}")
    ensure_tables(*instance)
    other = HeldLease(instance.store(), Holder("green in us-central1"), renew_s=0.5)
    other.take()
    options = [
        f"--project={instance.project}",
        f"--bigtable_instance={instance.instance}",
        "--read=events",
    ]
    command = [sys.executable, "pipeline/flex_template.py", *options, "--events_subscription=some"]
    env = {**os.environ, **emulators, "PYTHONPATH": str(REPO)}
    try:
        done = subprocess.run(
            command, cwd=REPO, env=env, capture_output=True, text=True, check=False, timeout=120
        )
    finally:
        other.end()
        instance.store().close()
    assert done.returncode == 1
    assert "pipeline: lease: the job green in us-central1 folds into this instance" in done.stderr
    assert "Traceback" not in done.stderr
