"""The phase of a run: a listener hears the innermost one, and nothing once it has stopped listening."""

import threading

import pytest

from ppo.machine.phase import listening, phase


def test_a_listener_hears_the_innermost_phase_also_when_an_error_ends_it():
    heard = []
    with listening(heard.append):
        with phase("training"), pytest.raises(ValueError), phase("compiling"):  # noqa: PT011
            raise ValueError
        threading.Thread(target=phase("elsewhere")(lambda: None)).start()  # another run, in another thread
    with phase("unheard"):
        pass
    assert heard == ["training", "compiling", "training", ""]


def test_a_function_can_be_a_phase_each_time_that_it_is_called():
    heard = []
    with listening(heard.append):
        update = phase("updating")(lambda x: x + 1)
        assert (update(1), update(2)) == (2, 3)
    assert heard == ["updating", "", "updating", ""]
