"""What all the rest stands on, and what imports nothing of slide but itself.

Types, random numbers, the clock, Ctrl-C, threads and scratch for kernels; aligned memory,
files that appear whole, memory limits and single values for Python.
"""
