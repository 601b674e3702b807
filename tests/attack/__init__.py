"""Requests that are made to cost: a corpus for tests and for the benchmark."""
