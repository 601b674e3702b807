"""Bigtable: its layout, for the pipeline (`blocking`) and for serving (`serving`)."""
