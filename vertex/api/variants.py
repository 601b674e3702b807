"""Variants of one product: a row shows one of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import UNKNOWN, Mask, Rows
from pipeline.core.item_columns import ItemColumns
from vertex.candidates import Allowed


def best_variants(groups: NDArray[np.int32], scores: NDArray[np.float64]) -> Mask:
    """Mask of the items that are the best of their product (ties by place), or of none.

    Args:
        groups: `(n,)` codes of the products that the items belong to.
        scores: `(n,)`.
    """
    mask = np.ones(len(groups), np.bool_)
    variants = np.flatnonzero(groups != UNKNOWN)
    if len(variants) < 2:
        return mask
    ordered = variants[np.argsort(-scores[variants], kind="stable")]
    _, firsts = np.unique(groups[ordered], return_index=True)
    mask[variants] = False
    mask[ordered[firsts]] = True
    return mask


def of_other_products(items: ItemColumns, rows: Rows) -> list[Allowed]:
    """A filter that leaves out the variants of these items' products; none where they have none."""
    groups = items.group.get(rows)
    groups = groups[groups != UNKNOWN]
    if not len(groups):
        return []
    return [lambda asked: ~np.isin(items.group.get(asked), groups)]
