"""Folds of the archived log: the same rows as the stream writes."""
