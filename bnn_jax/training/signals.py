"""Stopping between two steps when asked to: SIGTERM, Ctrl-C, or a cluster's notice of preemption."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils

Handler = Callable[[int, FrameType | None], None]


class StopRequest:
    """Context in which SIGTERM and SIGINT ask for a stop instead of ending the process.

    A second signal ends the process at once, as usual. On several hosts the request comes from JAX's
    preemption service, which sees to it that all hosts stop after the same step. It waits for SIGTERM, so Ctrl-C
    is passed on as that. In another thread than the main one, where Python has no signals, they do as always.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        handlers: dict[int, Handler] = {signal.SIGTERM: self._request, signal.SIGINT: self._request}
        if jax.process_count() > 1:
            handlers = {signal.SIGINT: self._pass_on}
        handlers = handlers if threading.current_thread() is threading.main_thread() else {}
        for number, handler in handlers.items():
            self._previous[number] = signal.signal(number, handler)
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal = number
        self._restore()
        # Where a program is being compiled, the step that is waited for is half a minute away.
        _say("Stopping after the next step or batch, or run that is being opened; a second signal ends at once.")

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._restore()
        _say("Stopping all hosts after the same step; a second signal ends this one at once.")
        os.kill(os.getpid(), signal.SIGTERM)

    def requested(self, step: int) -> bool:
        """Whether to stop after finished step `step`; call once for each step."""
        if not self.signal and jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
        return bool(self.signal)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()


def _say(line: str) -> None:
    # A handler may interrupt a print, which must not be entered twice.
    os.write(2, f"\n{line}\n".encode())
