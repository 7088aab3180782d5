"""The network: its arrays, their start, one pass over the rows, and when hashes are rebuilt."""
