"""The pipeline: its pure core by laws and boundaries, its edges on the real emulators."""
