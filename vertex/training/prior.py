"""The prior: the click model before there is data, its weights set by hand beside the features.

`python -m vertex.training.prior` writes it to the folder that ships with the code.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.core.features.ranking import FEATURE_NAMES, PRIOR_BIAS, PRIOR_WEIGHTS
from vertex.models.click_model import Files
from vertex.models.cloud_storage import MANIFEST
from vertex.models.logistic import Logistic
from vertex.models.registry import PRIOR_FOLDER

PRIOR = Logistic(FEATURE_NAMES, PRIOR_WEIGHTS, PRIOR_BIAS)


def prior_files() -> Files:
    """The prior's files by name."""
    manifest = {
        "version": "prior",
        "kind": PRIOR.kind,
        "created": None,
        "feature_names": list(PRIOR.feature_names),
        "metrics": {},
        "data": {"source": "weights set by hand"},
    }
    return {MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode(), **PRIOR.save()}


def write_prior(folder: Path = PRIOR_FOLDER) -> None:
    """Write them where the code that ships finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in prior_files().items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    write_prior()
