"""Training data: the log and the catalog, replayed into examples without a future."""
