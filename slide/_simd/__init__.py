"""Vector kernels for each instruction set behind one table, and the rows of weights they read."""
