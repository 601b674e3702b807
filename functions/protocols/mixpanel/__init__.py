"""Mixpanel's ingestion API."""
