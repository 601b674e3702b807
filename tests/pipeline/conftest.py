"""One Bigtable instance and one dataset for all tests of the pipeline; each test uses names of its
own.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping

import pytest
from google.cloud import bigquery

from pipeline.store.blocking import Bigtable, Store
from pipeline.store.tables import ensure_tables
from sql import schema
from tests.pipeline.running import Visitor
from tests.stack.bootstrap import bigquery_client

_LETTERS = str.maketrans("0123456789", "ghijklmnop")


@pytest.fixture(scope="session")
def source(emulators: Mapping[str, str]) -> Iterator[Bigtable]:
    """Which Bigtable the tests' pipelines use; the instance holds empty tables."""
    found = Bigtable(emulators["GOOGLE_CLOUD_PROJECT"], f"pipeline-{uuid.uuid4().hex[:8]}")
    ensure_tables(*found)
    yield found
    found.store().close()


@pytest.fixture(scope="session")
def store(source: Bigtable) -> Store:
    """The client that the tests' pipelines use too."""
    return source.store()


@pytest.fixture
def tag() -> str:
    """A name that nothing else in the emulators has, of letters: seven digits in a row are taken
    for somebody's number.
    """
    return uuid.uuid4().hex[:8].translate(_LETTERS)


@pytest.fixture
def visitor(tag: str) -> Visitor:
    """A visitor of that name."""
    return Visitor(tag)


@pytest.fixture(scope="session")
def bigquery_server(emulators: Mapping[str, str]) -> Iterator[bigquery.Client]:
    """A client of the local BigQuery."""
    client = bigquery_client(emulators)
    yield client
    client.close()


@pytest.fixture(scope="session")
def dataset(bigquery_server: bigquery.Client) -> str:
    """A dataset with the tables, without views, which take long to make."""
    name = f"pipeline_{uuid.uuid4().hex[:8]}"
    bigquery_server.create_dataset(name)
    for statement in schema.statements(name):
        if "create table if not exists" in statement:
            bigquery_server.query_and_wait(statement)
    return name


@pytest.fixture
def alone(source: Bigtable, tag: str) -> Bigtable:
    """Tables that hold nothing of other tests, so that the scope of all is this test's."""
    found = Bigtable(source.project, f"alone-{tag}")
    ensure_tables(*found)
    return found
