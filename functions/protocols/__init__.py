"""The vendors' protocols that the collector speaks: one module each, see `contract`."""
