"""Training: from the events log to a model folder, features replayed as they were at each
moment."""
