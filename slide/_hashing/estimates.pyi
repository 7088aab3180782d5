from slide._hashing.directions import Directions
from slide._hashing.finder import Finder
from slide._hashing.simhash import SimHash

class Estimates(Finder):
    @property
    def hasher(self) -> SimHash: ...
    @property
    def directions(self) -> Directions | None: ...
