"""The pure core, without Beam, Google clients or a clock."""
