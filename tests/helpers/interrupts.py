"""Interrupts before a chosen bytecode, as a signal handler would raise them there."""

import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import slide

_OURS = str(Path(slide.__file__).parent)
# The sanitizer's plugin marks memory around arrays and must unmark it in a finalizer.
_NEVER = (weakref.__file__, str(Path("tools") / "guard.py"))


class Interrupt(BaseException):
    """What the handler raises."""


class InterruptAt:
    """Context manager that raises an Interrupt before the n-th bytecode of this thread, once.

    CPython runs handlers only after calls, at jumps back and at the start of functions, and never
    between a compiled `__enter__` and the block of its `with`. This raises before every bytecode,
    which is stricter. Handlers that compiled loops run (`slide/_base/signals.pxd`) are not meant.

    Parameters
    ----------
    n : int
    ours : bool
        Whether only bytecodes of slide count, not those of the libraries that it calls.

    Attributes
    ----------
    raised : bool
        Whether there were that many bytecodes.
    """

    def __init__(self, n: int, ours: bool = False) -> None:
        self.n, self.ours, self.raised = n, ours, False

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, argument: object):
        code = frame.f_code
        if code is InterruptAt.__exit__.__code__ or self.raised:
            return None
        if code.co_filename.endswith(_NEVER):
            return None
        if self.ours and not code.co_filename.startswith(_OURS):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.n -= 1
            if self.n < 0:
                self.raised = True
                raise Interrupt
        return self._trace


def interrupted_everywhere(
    make: Callable[[], Callable[[], object]], *, ours: bool = False, step: int = 1
) -> Iterator[int]:
    """Run what `make` returns again and again, interrupted before each `step`-th bytecode.

    Yields the number of the bytecode after every run that was interrupted.
    """
    n = 0
    while True:
        run = make()
        at = InterruptAt(n, ours)
        try:
            with at:
                run()
        except Interrupt:
            pass
        if not at.raised:
            assert n > 0
            return
        yield n
        n += step
