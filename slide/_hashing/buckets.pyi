from slide._hashing.finder import Finder

BUCKETS: tuple[str, ...]

class Buckets(Finder): ...
