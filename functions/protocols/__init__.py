"""Protocols of vendors and of our own: a folder each, see `contract`."""
