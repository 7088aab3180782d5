"""One micro-batch through the network: forward, active set, loss, backward and update.

Every function works in one thread. `slide._core` runs them in many threads.
"""
