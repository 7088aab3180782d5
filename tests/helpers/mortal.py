"""Trainings that stop between two chunks of rows, as if killed, for tests of checkpoints."""

from types import SimpleNamespace

from slide._network import network, passes


class Killed(BaseException):
    pass


def make_mortal(patch):
    """Make chunks small; `left` of the returned object is how many run before `fit` dies."""
    life = SimpleNamespace(left=None, n=0)

    class Mortal(network.Trainer):
        def run(self, *args):
            life.n += 1
            if life.left is not None:
                life.left -= 1
                if life.left < 0:
                    raise Killed
            return super().run(*args)

    patch.setattr(passes, "_CHUNK", 256)
    patch.setattr(network, "Trainer", Mortal)
    return life
