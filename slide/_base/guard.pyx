"""Locks and temporary folders that no interrupt can leave behind.

Python runs signal handlers between two bytecodes, and raises there what they raise:
KeyboardInterrupt, or the exception of a timeout. Every change here is one call of a compiled
method, which has no bytecodes in between. What was taken is released in two ways, and an exception
anywhere meets at least one of them:

- The `with` statement calls `__exit__`. CPython runs no handler between a compiled `__enter__`
  and the first bytecode that `with` protects (3.11 to 3.13), nor before the call of `__exit__`.
- An object that gets no further than a frame's stack, as can happen right after `__enter__` in
  3.14, is freed at once: nothing else refers to it. It then releases what it holds.
"""
import os

cimport cython

from slide._base.typedefs cimport int64_t

from functools import wraps
from time import sleep

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept
    int PyErr_CheckSignals() except -1

cdef enum:
    FREE, WAITS, HOLDS

cdef double _SHORTEST = 5e-5   # seconds between two looks whether a turn has come
cdef double _LONGEST = 5e-3
cdef long _n_forks = 0         # forks between the first process and this one


def _count_fork():
    global _n_forks
    _n_forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


@cython.final
@cython.no_gc
cdef class Guard:
    """Read-write lock between threads. Writers come first.

    A thread that reads may read again. A thread that would wait for itself gets a RuntimeError. In
    a forked process, which lacks the threads that held it, the lock is free.
    """

    cdef void *first           # the turns that wait or hold
    cdef long n_forks          # in the process that they belong to

    def reading(self):
        """Return a context manager: the lock is held together with other readers."""
        return Turn(self, False)

    def writing(self):
        """Return a context manager: the lock is held alone."""
        return Turn(self, True)

    @property
    def is_held_here(self):
        """Whether this thread holds the lock."""
        return self._count(HOLDS, PyThread_get_thread_ident()) > 0

    @property
    def n_waiting(self):
        """Turns that wait."""
        return self._count(WAITS, 0)

    @property
    def n_held(self):
        """Turns that hold the lock."""
        return self._count(HOLDS, 0)

    cdef int64_t _count(self, int state, unsigned long thread) noexcept:
        cdef int64_t n = 0
        cdef Turn turn
        self._forget_other_processes()
        cdef void *place = self.first
        while place != NULL:
            turn = <Turn>place
            n += turn.state == state and (thread == 0 or turn.thread == thread)
            place = turn.next
        return n

    cdef void _forget_other_processes(self) noexcept:
        if self.n_forks != _n_forks:
            self.first, self.n_forks = NULL, _n_forks

    cdef void _join(self, Turn turn) noexcept:
        self._forget_other_processes()
        turn.state, turn.thread = WAITS, PyThread_get_thread_ident()
        turn.n_forks, turn.next = _n_forks, self.first
        self.first = <void *>turn

    cdef void _leave(self, Turn turn) noexcept:
        cdef void **place = &self.first
        turn.state = FREE
        if turn.n_forks != self.n_forks:
            return
        while place[0] != NULL:
            if place[0] == <void *>turn:
                place[0] = turn.next
                return
            place = &(<Turn>place[0]).next

    cdef bint _admits(self, Turn turn) except -1:
        """Give the lock to a turn that waits, if that is possible now; returns whether it was."""
        cdef bint taken = False, reads = False, awaited = False
        cdef Turn other
        cdef void *place = self.first
        while place != NULL:
            other = <Turn>place
            place = other.next
            if other is turn:
                continue
            if other.state == WAITS:
                awaited = awaited or other.alone
            elif turn.alone or other.alone:
                taken = True
                if other.thread == turn.thread:
                    raise RuntimeError(
                        "this thread would wait for itself: it uses an estimator that it is "
                        "already changing or reading, for example in a signal handler"
                    )
            else:
                reads = reads or other.thread == turn.thread
        if taken or (awaited and not turn.alone and not reads):
            return False
        turn.state = HOLDS
        return True


@cython.final
@cython.no_gc
cdef class Turn:
    """A turn at a Guard: context manager."""

    cdef Guard guard
    cdef bint alone
    cdef int state
    cdef unsigned long thread
    cdef long n_forks
    cdef void *next

    def __init__(self, Guard guard, bint alone):
        self.guard, self.alone = guard, alone

    def __enter__(self):
        cdef double pause = _SHORTEST
        if self.state != FREE:
            raise RuntimeError("a turn can be used once at a time")
        self.guard._join(self)
        try:
            while not self.guard._admits(self):
                sleep(pause)
                PyErr_CheckSignals()  # sleep runs handlers only where the signal woke this thread
                pause = min(2 * pause, _LONGEST)
        except BaseException:
            self.guard._leave(self)
            raise

    def __exit__(self, *error):
        if self.state != FREE:
            self.guard._leave(self)

    def __dealloc__(self):
        if self.state != FREE:
            self.guard._leave(self)


@cython.final
cdef class TemporaryFolder:
    """A new folder, which goes with `remove` or with this object, together with its files.

    Parameters
    ----------
    path : str
        Nothing may be there yet.
    mode : int
        Rights of the folder.
    """

    cdef object path

    def __init__(self, str path, int mode=0o700):
        os.mkdir(path, mode)
        self.path = path

    def remove(self):
        """Remove the folder and the files in it, as far as the system lets us."""
        path, self.path = self.path, None
        if path is None:
            return
        try:
            for name in os.listdir(path):
                os.unlink(path + os.sep + name)
        except OSError:
            pass
        try:
            os.rmdir(path)
        except OSError:
            pass

    def __del__(self):
        self.remove()


@cython.final
cdef class Steps:
    """Context manager of a generator that yields once and swallows nothing; see `in_steps`."""

    cdef object generator

    def __init__(self, generator):
        self.generator = generator

    def __enter__(self):
        return next(self.generator)

    def __exit__(self, kind, error, traceback):
        try:
            if error is None:
                next(self.generator)
            else:
                self.generator.throw(error)
        except StopIteration:
            return False
        except BaseException as raised:
            if raised is not error:
                raise


def in_steps(function):
    """Decorator like `contextlib.contextmanager`, without bytecodes of its own.

    An interrupt in those of the library would leave the generator where it is, for as long as
    someone keeps the exception.
    """
    @wraps(function)
    def begin(*args, **kwargs):
        return Steps(function(*args, **kwargs))

    return begin


def sync_folder(str path):
    """Write the names in a folder to the disk, on systems that can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
