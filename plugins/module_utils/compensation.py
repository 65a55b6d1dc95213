# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All or nothing over several writes: what was begun is put back when the work doesn't get to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import types
import typing as t

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Ended(BaseException):
    """A signal that would have ended the process on the spot."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def put_back_on_failure(put_back: t.Callable[[BaseException], None]) -> t.Iterator[None]:
    """Call ``put_back`` with what ended the block, if it ended by an error, Ctrl-C or SIGTERM.

    While it is called neither signal interrupts. ``put_back`` may add to the error what stands now.
    """
    with contextlib.ExitStack() as handlers:
        if threading.current_thread() is threading.main_thread():
            handlers.enter_context(_signals_raise())
        try:
            yield
        except BaseException as error:
            with contextlib.ExitStack() as quiet:
                if threading.current_thread() is threading.main_thread():
                    for number in _SIGNALS:
                        quiet.enter_context(_handled(number, signal.SIG_IGN))
                put_back(error)
            raise


@contextlib.contextmanager
def _signals_raise() -> t.Iterator[None]:
    """Each signal still does what it did, but only after the block was left."""
    deferred = [number for number in _SIGNALS if _may_end_at_once(number)]
    if not deferred:
        yield
        return
    try:
        with contextlib.ExitStack() as handlers:
            for number in deferred:
                handlers.enter_context(_handled(number, _raise))
            yield
    except _Ended as ended:
        os.kill(os.getpid(), ended.number)
        raise


def _may_end_at_once(number: signal.Signals) -> bool:
    """As the system's own way does, and the handler of Ansible's workers, in which action plugins run."""
    handler = signal.getsignal(number)
    raises = handler in (_raise, signal.default_int_handler)
    return handler is signal.SIG_DFL or (callable(handler) and not raises)


def _raise(number: int, _frame: types.FrameType | None) -> t.NoReturn:
    raise _Ended(number)


@contextlib.contextmanager
def _handled(number: signal.Signals, handler: t.Any) -> t.Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
