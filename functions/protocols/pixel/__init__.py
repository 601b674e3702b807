"""Freshet's pixel, an event in the address of an image."""
