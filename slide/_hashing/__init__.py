"""Which neurons to compute: hash families, tables of neurons, estimates, retrieval policies.

Map of the package::

    hash_families registry of the hash families
    hasher        hash functions: what all families share
    simhash       SimHash: signs of random projections
    bins          bins of hashes, as WTA, DWTA and MinHash use them
    winners       WTA and DWTA: place of the largest coordinate
    minhash       MinHash of the set of largest coordinates
    tables        hash tables of a layer's neurons, and their rebuild
    collisions    lookup of a query in hash tables
    retrieval     registry of the policies; finds a layer's neurons
    finder        base of all finders; the policies "exact" and "none"
    buckets       finder that only looks tables up
    estimates     finder that estimates pre-activations from codes
    directions    directions along which estimates are exact
    scan          finder that computes all neurons, from weights stored by input
    forms         names, dtypes and shapes of a retrieval's arrays
"""
