"""Writes the shipped prior from the weights in the core: `python -m vertex.training.prior`."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.core.features.ranking import FEATURE_NAMES, PRIOR_BIAS, PRIOR_WEIGHTS
from vertex.models.folder import MANIFEST, PRIOR_FOLDER, WEIGHTS


def prior_files() -> dict[str, str]:
    """The prior's files by name."""
    manifest = {
        "version": "prior",
        "kind": "logistic",
        "created": None,
        "feature_names": list(FEATURE_NAMES),
        "metrics": {},
        "data": {"source": "weights set by hand"},
    }
    weights = {"bias": PRIOR_BIAS, "weights": PRIOR_WEIGHTS}
    return {MANIFEST: _text(manifest), WEIGHTS: _text(weights)}


def write_prior(folder: Path = PRIOR_FOLDER) -> None:
    """Writes them where the code that ships finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in prior_files().items():
        (folder / name).write_text(text, encoding="utf-8")


def _text(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"


if __name__ == "__main__":
    write_prior()
