"""The steps of the pipeline, a file each: the DoFns, the PTransform around them, and what it
promises.
"""
