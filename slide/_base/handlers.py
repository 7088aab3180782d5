"""Exceptions that signal handlers raised, told from those of the code that they interrupted."""

from __future__ import annotations

from types import FrameType, TracebackType


def raise_from_handler(error: BaseException) -> None:
    """Raise the exception of a signal handler again, if `error` is one or came of one.

    A handler that stops a call, by a timeout for example, must not look like a fault of the data
    that the call was reading. Python calls a handler with the number of the signal and the frame
    that it interrupted: the handler's frame has its own caller among its arguments.
    """
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if _is_from_handler(found.__traceback__):
            raise found
        found = found.__cause__ or found.__context__


def _is_from_handler(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_back is not None and _was_given(frame, frame.f_back):
            return True
        traceback = traceback.tb_next
    return False


def _was_given(frame: FrameType, interrupted: FrameType) -> bool:
    """Whether a frame has another frame, and a number, among its arguments."""
    code = frame.f_code
    n = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4)  # 4: it has *args
    names = code.co_varnames[:n]
    if not names:
        return False
    values = [frame.f_locals.get(name) for name in names]
    given = [item for value in values for item in (value if type(value) is tuple else (value,))]
    return any(item is interrupted for item in given) and any(type(item) is int for item in given)
