"""Readers of catalog feeds, a file for each form; all stream, in memory for one row at a time."""
