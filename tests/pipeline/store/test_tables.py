"""Tables are created once, with rules that forget by age what events have made."""

from __future__ import annotations

from datetime import timedelta

from google.cloud.bigtable import Client
from google.cloud.bigtable.column_family import GCRuleUnion, MaxAgeGCRule, MaxVersionsGCRule

from pipeline.store.blocking import Bigtable
from pipeline.store.tables import ensure_tables


def test_tables_that_exist_are_left_alone(source: Bigtable) -> None:
    assert ensure_tables(*source) == []


def test_tables_forget_statistics_stubs_and_scopes_by_age_and_never_the_catalog(
    source: Bigtable, tag: str
) -> None:
    ensure_tables(source.project, f"expiring-{tag}", item_ttl_days=90)
    admin = Client(project=source.project, admin=True).instance(f"expiring-{tag}")
    families = {table: admin.table(table).list_column_families() for table in ("items", "trending")}
    by_age = MaxAgeGCRule(timedelta(days=90))
    expiring = GCRuleUnion([MaxVersionsGCRule(1), by_age])
    assert families["items"]["s"].gc_rule == families["trending"]["t"].gc_rule == expiring
    assert families["items"]["c"].gc_rule == MaxVersionsGCRule(1)
