"""Models: one file each, and the folder that a trained one lies in."""
