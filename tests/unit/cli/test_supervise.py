from __future__ import annotations

import os
import signal
import threading

import pytest

from processor.cli import supervise
from processor.errors import ProcessorError


def answers(answer):
    answer.send("made")


def dies(answer):
    signal.raise_signal(signal.SIGSEGV)


def gives_up(answer):
    os._exit(3)


def elsewhere(target, *, stopped=False):
    stop = threading.Event()
    if stopped:
        stop.set()
    return supervise._elsewhere(stop, target)


def test_what_is_made_in_another_process_comes_back():
    assert elsewhere(answers) == "made"


def test_a_preparation_that_a_signal_ended_is_told_by_name():
    with pytest.raises(ProcessorError, match="preparing the run was ended by SIGSEGV"):
        elsewhere(dies)


def test_a_preparation_that_failed_ends_the_command_as_it_did():
    with pytest.raises(SystemExit) as raised:
        elsewhere(gives_up)
    assert raised.value.code == 3


def test_a_preparation_that_was_ended_because_all_is_to_end_is_no_failure():
    with pytest.raises(SystemExit) as raised:
        elsewhere(dies, stopped=True)
    assert raised.value.code == 0
