"""Creation of the tables, for emulators and tests. On Google Cloud, Terraform creates them."""

from __future__ import annotations

from datetime import timedelta

from google.cloud import bigtable
from google.cloud.bigtable.column_family import (
    GarbageCollectionRule,
    GCRuleUnion,
    MaxAgeGCRule,
    MaxVersionsGCRule,
)

from pipeline.store.layout import CHANGE_FAMILY, CHANGE_TTL_MS, ITEM_FAMILIES, TABLES


def ensure_tables(project: str, instance: str, item_ttl_days: float | None = None) -> list[str]:
    """Create the missing tables (one version a cell), and return their names.

    `item_ttl_days`, where given, is the age at which statistics, stubs and scopes expire.
    """
    admin = bigtable.Client(project=project, admin=True).instance(instance)
    existing = {table.table_id for table in admin.list_tables()}
    missing = [name for name in TABLES if name not in existing]
    for name in missing:
        families = {family: _rule(family, item_ttl_days) for family in TABLES[name]}
        admin.table(name).create(column_families=families)
    return missing


def _rule(family: str, item_ttl_days: float | None) -> GarbageCollectionRule:
    one_version = MaxVersionsGCRule(1)
    ttl = _ttl(family, item_ttl_days)
    if ttl is None:
        return one_version
    return GCRuleUnion([one_version, MaxAgeGCRule(ttl)])


def _ttl(family: str, item_ttl_days: float | None) -> timedelta | None:
    if family == CHANGE_FAMILY:
        return timedelta(milliseconds=CHANGE_TTL_MS)
    if item_ttl_days is None or family not in ITEM_FAMILIES:
        return None
    return timedelta(days=item_ttl_days)
