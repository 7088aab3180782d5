"""Parameters of every kind of network that a file may hold."""

SPARSE = {
    "hidden_layer_sizes": (64, 32),
    "active_fraction": (0.25, 0.5, 0.9),
    "rehash_every": 200,
}
HASHED = {**SPARSE, "n_tables": 6, "n_hash_bits": 4}
KINDS = {
    "dense": {},
    "sampled": {"active_fraction": (1.0, 0.2), "retrieval": "rerank", "rehash_every": 200},
    "sparse": SPARSE,
    "estimated": {**SPARSE, "retrieval": "estimate"},
    "angles": {"active_fraction": (0.3, 0.3), "retrieval": "topk", "hash_family": "dwta"},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "adagrad": {"solver": "adagrad", "dropout": 0.1},
    "scan": {**SPARSE, "retrieval": "scan"},
    "exact": {**SPARSE, "retrieval": "exact"},
    "random": {**SPARSE, "retrieval": "none"},
    "threshold": {**HASHED, "retrieval": "threshold"},
    # A layer that is wide enough for a first ranking by 64 bits.
    "wide": {
        "hidden_layer_sizes": (4200,),
        "active_fraction": (0.01, 1.0),
        "retrieval": "estimate",
        "max_iter": 1,
    },
    **{
        family: {**HASHED, "retrieval": "rerank", "hash_family": family}
        for family in ("simhash", "wta", "dwta", "minhash")
    },
}
