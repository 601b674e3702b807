"""Search suggestions: queries, categories, brands and products that begin as what is typed."""
