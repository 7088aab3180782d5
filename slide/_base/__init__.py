"""The foundation of all other packages; it imports none of them.

Types, random numbers, the clock, Ctrl-C, threads and scratch for kernels; aligned memory,
files that appear whole, memory limits and single values for Python.
"""
