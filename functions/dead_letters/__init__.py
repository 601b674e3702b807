"""Dead letters: listed, repaired and replayed. The collector imports none of it."""
