"""Vector kernels for each instruction set behind one table, and the rows of weights they read.

Map of the package::

    dispatch      choice of the instruction set; Python entry points to kernels
    weights       rows of weights in float32 or bfloat16
    largest       selection of the k largest scores
    tables.c      one table of kernels for each instruction set
    simd.h        declarations of all kernels
    kernels.h     most vector kernels, written over macros of tables.c
    blocks.h      kernels over one row of weights, or over some of its columns
    half.h        kernels of bfloat16 weights
    pairs.h       products of pairs of bfloat16 numbers
    sift.h        products of bytes, which rule neurons out
    codes.h       sums of table entries for the scan of codes
    hash.h        transform and codes of SimHash
    shortlist.h   scan of the short list's one-bit codes
"""
