"""States as releases stored them, and what each release read in them."""
