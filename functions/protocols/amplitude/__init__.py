"""Amplitude's HTTP V2 and batch APIs."""
