"""Commands of an operator: rewind, catalog, rules, and the tables of the docs."""
