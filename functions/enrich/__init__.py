"""Enrichment: facts that a request's headers and addresses add to its events."""
