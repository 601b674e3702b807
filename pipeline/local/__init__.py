"""Beam on one machine, for the local stack: nothing of it runs on Dataflow."""
