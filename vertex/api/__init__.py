"""The Cloud Run service that answers "what next?": reads features, gathers candidates, ranks them,
always answers.
"""
