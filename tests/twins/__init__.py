"""Plain NumPy twins of the kernels: slow, obvious, float64. The tests compare the engine with them.

simd        vector kernels                      half        weights in bfloat16
random      streams of random numbers           hashing     hash families, tables, retrieval
engine      training and prediction             shortlist   short lists of one-bit codes
prototypes  classes' mean training rows
"""
