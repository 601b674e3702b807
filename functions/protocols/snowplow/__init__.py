"""Snowplow's tracker protocol."""
