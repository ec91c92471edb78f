"""A signal to the whole group does not end children that their parent answers for."""

import multiprocessing
import os
import signal
import threading
import time

import pytest

from pictor.core.children import unsignalled


def _tell(connection):
    connection.send("alive")
    connection.recv()


@pytest.mark.parametrize("early", [True, False])
def test_a_child_outlives_a_signal_even_while_it_imports(early):
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    child = context.Process(target=_tell, args=(theirs,))
    with unsignalled():
        child.start()
    theirs.close()
    if not early:
        assert mine.recv() == "alive"
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child.pid, number)
    if early:
        assert mine.recv() == "alive"
    time.sleep(0.1)
    assert child.is_alive()
    mine.send("end")
    child.join()
    assert child.exitcode == 0


def test_the_parents_thread_sees_a_signal_after_the_block():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("SIGTERM"))
    try:
        with unsignalled():
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            assert seen == []
        assert seen == ["SIGTERM"]
    finally:
        signal.signal(signal.SIGTERM, before)
