"""Freshet: the streaming pipeline and the pure core it shares with training and serving."""
