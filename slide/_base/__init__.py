"""The foundation of all other packages; it imports none of them.

Map of the package, first for kernels, then for Python::

    typedefs      integer and float types of the engine (.pxd)
    random        SplitMix64 random numbers (.pxd)
    clock         the time, for checks inside loops (.pxd)
    openmp        OpenMP, or one thread where it is missing (.pxd)
    signals       Ctrl-C inside parallel loops (.pxd)
    rows          rows of X, dense or CSR, as kernels read them
    scratch       memory that a thread works in
    threads       number of threads that OpenMP would start
    guard         locks and temporary folders that no interrupt leaves behind

    arrays        type aliases for signatures
    memory        NumPy arrays that start on a cache line
    limits        memory limits of this process
    locks         turns of the threads that use one estimator
    n_jobs        number of threads that `n_jobs` stands for
    files         files that appear whole or not at all
    targets       files that can be replaced, and the links to them
    text_files    lines of text files, compressed or not
    handlers      exceptions of signal handlers, which come out as they are
    values        single values from users: conversion, display, refusal
    products      sums of products in one thread
    wrappers      the estimator within pipelines, searches and other wrappers
    named_arrays  an object and its parts as dicts of arrays
"""
