import numpy as np

from slide._hashing.hasher import Hasher

class BinnedHasher(Hasher): ...

def draw_seeds(random_state: np.random.RandomState) -> tuple[int, ...]: ...
