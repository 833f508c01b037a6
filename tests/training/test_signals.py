"""Stopping between two steps when a signal asks for it."""

import os
import signal
import threading

import pytest

from bnn_jax.training.signals import StopRequest

NUMBERS = [signal.SIGTERM, signal.SIGINT]


class Ended(Exception):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def handlers():
    """Handlers that raise, as the ones to be restored; the process's own come back afterwards."""

    def end(number, frame):
        raise Ended(number)

    before = {number: signal.signal(number, end) for number in NUMBERS}
    yield end
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NUMBERS)
class TestOneSignal:
    def test_it_is_kept_as_a_request_instead_of_ending_the_process(self, number):
        with StopRequest() as stop:
            assert not stop.requested(1)
            send(number)
            assert stop.requested(2)
            assert stop.requested(3)
        assert stop.signal == number

    def test_a_second_one_ends_the_process_at_once(self, number):
        with StopRequest() as stop:
            send(number)
            with pytest.raises(Ended):
                send(number)
            assert stop.signal == number

    def test_after_the_context_it_does_what_it_did_before(self, number, handlers):
        with StopRequest():
            assert signal.getsignal(number) is not handlers
        assert signal.getsignal(number) is handlers
        with StopRequest():
            send(number)
        assert signal.getsignal(number) is handlers

    def test_an_error_within_the_context_passes_and_restores_too(self, number, handlers):
        with pytest.raises(KeyError), StopRequest():
            raise KeyError
        assert signal.getsignal(number) is handlers


def test_in_another_thread_signals_do_as_always(handlers):
    found = []

    def ask():
        with StopRequest() as stop:
            found.append((signal.getsignal(signal.SIGTERM), stop.requested(1)))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [(handlers, False)]


def test_the_other_signal_ends_the_process_too_once_one_was_sent():
    with StopRequest():
        send(signal.SIGTERM)
        with pytest.raises(Ended):
            send(signal.SIGINT)
