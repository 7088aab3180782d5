"""Plain NumPy twins of the kernels: slow, obvious, float64."""
