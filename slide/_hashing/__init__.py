"""Which neurons to compute: hash families, tables of neurons, estimates, retrieval policies."""
