"""Evaluation of models on slates later than those they learnt from."""
