"""The runner of the local stack."""
