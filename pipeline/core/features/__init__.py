"""Features, a file a family, and the matrix that training and serving share."""
