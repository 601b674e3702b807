"""Expressions over the fields of items, visitor and context, compiled to masks over columns."""
