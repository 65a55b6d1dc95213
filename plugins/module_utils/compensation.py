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


class _Terminated(BaseException):
    """SIGTERM, where the process would have ended on the spot."""


@contextlib.contextmanager
def put_back_on_failure(put_back: t.Callable[[BaseException], None]) -> t.Iterator[None]:
    """Call ``put_back`` with what ended the block, if it ended by an error, Ctrl-C or SIGTERM.

    While it is called neither signal interrupts. ``put_back`` may add to the error what stands now.
    """
    with contextlib.ExitStack() as handlers:
        if threading.current_thread() is threading.main_thread():
            handlers.enter_context(_sigterm_raises())
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
def _sigterm_raises() -> t.Iterator[None]:
    """The process still ends by SIGTERM, but only after the block was left. A handler of someone else is kept."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    try:
        with _handled(signal.SIGTERM, _raise):
            yield
    except _Terminated:
        os.kill(os.getpid(), signal.SIGTERM)
        raise


def _raise(_number: int, _frame: types.FrameType | None) -> t.NoReturn:
    raise _Terminated


@contextlib.contextmanager
def _handled(number: signal.Signals, handler: t.Any) -> t.Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
