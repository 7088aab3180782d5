"""The resolution of "auto" for the retrieval of a layer, with its reasons."""

from __future__ import annotations

import math

from slide._base.arrays import Params
from slide._settings.settings import RetrievalSettings

_COARSE = 4096  # with more neurons, all are ranked by 64 bits first
_WIDE = 32768  # with more neurons, tables are cheaper than reading 64 bits of every code
CODE_BITS = 256  # bits of the codes that are ranked by population count


def hidden_retrieval(
    params: Params,
    n_in: int,
    n_values: float,
    sparse_input: bool,
    size: int,
    n_active: int,
    i: int,
) -> RetrievalSettings:
    """How sparse hidden layer i finds its neurons.

    n_values : values of one input vector; sparse_input : whether most others are zero. "auto"
    estimates pre-activations from codes, or computes all of them ("scan") if that costs at most
    twice as much: for few values or few neurons. For 50 values and 1,000 neurons it is 50,000
    multiplications; and cosines are so small then (.03) that 512 bits find only .73 of the right
    neurons (Fashion-MNIST, 3 x 1000: accuracy .884, and .889 with all computed).
    """
    policy = params["retrieval"]
    wide, deep = size > _WIDE, len(params["hidden_layer_sizes"]) > 1
    # With 10,000 neurons, .91 of the best 50 are among the best 500 by 64 bits and 2 directions;
    # 512 bits then find .8 of these. Ranking all by 256 bits would cost more and find .74.
    coarse = _COARSE < size <= _WIDE
    n_coarse = 10 * n_active if coarse else 0
    code_bits = 2 * CODE_BITS if deep or coarse else CODE_BITS
    if policy in ("auto", "lists"):
        policy = "estimate"
        if sparse_input:
            looked_at = 1000 if wide else n_coarse or size
            ranking = looked_at * (code_bits // 64 + 1) + 4 * n_active * n_values
            ranking += 2 * size if coarse else 0
            if size * n_values <= 2 * (30 * min(n_in, code_bits) + ranking):
                policy = "scan"
    use_tables = _uses_tables(policy, size)
    n_tables, n_hash_bits = _table_shape(params, size, 0 if use_tables else code_bits)
    bucket_limit = max(32, math.ceil(4 * n_active / n_tables))
    if policy == "estimate" and wide:
        # Ranking by codes is so cheap that buckets may hold some thousands of 100,000 neurons.
        n_hash_bits = 6 if params["n_hash_bits"] == "auto" else n_hash_bits
        n_tables = 40 if params["n_tables"] == "auto" else n_tables
        bucket_limit = 200
    if policy != "estimate" or n_tables * n_hash_bits <= 64:
        n_coarse = 0
    # For a sparse vector, a few exact pre-activations cost less than the hashing; for a dense one
    # they are the cost to avoid. In a deep network missed neurons cost more accuracy: there three
    # times as many are tried.
    n_candidates = n_active
    if policy == "rerank" or (policy == "estimate" and sparse_input):
        n_candidates = 4 * n_active
    elif policy == "estimate" and deep:
        n_candidates = 3 * n_active
    # On Fashion-MNIST (784 features) 2 directions raise the share of right neurons from .47 to .58.
    # In a deep network 36 directions, with twice the codes and three times the candidates, raise
    # the accuracy of 3 x 1000 from .888 (8 directions, twice the candidates) to .890. With 10,000
    # neurons, 500 active, 12 directions and pruned gradients together reach .894 (one seed), where
    # one direction without pruning reached .888 at more multiplications.
    n_directions = 0
    if policy == "estimate" and i == 0 and not (sparse_input or use_tables):
        n_directions = 12 if coarse else 36 if deep else 2
    return _retrieval_settings(
        params,
        policy,
        n_in,
        size,
        n_tables=n_tables,
        n_hash_bits=n_hash_bits,
        n_wanted=n_active,
        n_candidates=n_candidates,
        bucket_limit=bucket_limit,
        n_directions=n_directions,
        n_rounds=2 if n_values >= 64 and not sparse_input else 3,
        n_coarse=n_coarse,
    )


def output_retrieval(params: Params, n_classes: int) -> RetrievalSettings:
    """How the hardest wrong neurons of the output layer are found: a few among 64 candidates."""
    policy = params["retrieval"]
    use_tables = _uses_tables(policy, n_classes)
    n_tables, n_hash_bits = _table_shape(params, n_classes, 0 if use_tables else CODE_BITS)
    return _retrieval_settings(
        params,
        policy,
        params["hidden_layer_sizes"][-1],
        n_classes,
        n_tables=n_tables,
        n_hash_bits=n_hash_bits,
        n_wanted=0,
        n_candidates=64,
        bucket_limit=16,
    )


def _retrieval_settings(
    params: Params, policy: str, n_in: int, n_neurons: int, **sizes: int
) -> RetrievalSettings:
    return RetrievalSettings(
        policy=policy,
        hash_family=_family(params),
        use_tables=_uses_tables(policy, n_neurons),
        min_collisions=2,
        transform=_transform(params, n_in),
        **sizes,
    )


def _uses_tables(policy: str, n_neurons: int) -> bool:
    """Whether a policy uses tables: all do, except "estimate" in a layer of few neurons.

    Policies without hashing ignore the answer.
    """
    return policy != "estimate" or n_neurons > _WIDE


def _family(params: Params) -> str:
    return "simhash" if params["hash_family"] == "auto" else params["hash_family"]


def _transform(params: Params, n_in: int) -> bool:
    """Whether to search by inner product, not by angle; this adds two coordinates to every vector.

    The families that only rank coordinates cannot use the added ones, which have another scale:
    without them WTA and DWTA find .22 of the right neurons, with them .13 (1,000 neurons whose
    norms and biases vary). Below 64 coordinates there are too few possible orders, and all families
    get the added ones.
    """
    return _family(params) == "simhash" or n_in < 64


def _table_shape(params: Params, n_neurons: int, code_bits: int) -> tuple[int, int]:
    """Numbers of tables and of bits per table; without tables only their product counts."""
    n_bits, n_tables = params["n_hash_bits"], params["n_tables"]
    if n_bits == "auto":
        n_bits = 8 if code_bits else auto_n_hash_bits(n_neurons)
    if n_tables == "auto":
        n_tables = code_bits // 8 if code_bits else 24
    return n_tables, n_bits


def auto_n_hash_bits(n_classes: int) -> int:
    """Bits for buckets of about 32 neurons: enough to hold the hardest, few enough to read."""
    return max(2, min(16, round(math.log2(max(n_classes, 2) / 32))))
