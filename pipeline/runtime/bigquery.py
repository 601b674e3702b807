"""Clients of BigQuery: Google Cloud's or the emulator's."""

from __future__ import annotations

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery


def bigquery_client(project: str, emulator: str | None) -> bigquery.Client:
    """A client of BigQuery.

    Args:
        project: the Google Cloud project.
        emulator: the emulator's address, which takes no credentials; None: Google Cloud.
    """
    if emulator is None:
        return bigquery.Client(project=project)
    return bigquery.Client(
        project=project,
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=emulator),
    )
