"""Freshet's own protocol."""
