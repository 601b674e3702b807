"""Stored states of each version, and what they said when they were written."""
