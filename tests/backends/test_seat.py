"""Networks that take turns on a device."""

import threading

import numpy as np
import pytest

from pictor import InputError
from pictor.backends.seat import Seat


class Sitter:
    def __init__(self, name, log, room, fails=False):
        self.name, self.log, self.room, self.fails = name, log, room, fails

    def enter(self):
        if self.fails:
            raise MemoryError(self.name)
        self.room.add(self.name)
        assert len(self.room) == 1
        self.log.append(f"+{self.name}")

    def leave(self):
        self.room.remove(self.name)
        self.log.append(f"-{self.name}")


def test_one_at_a_time_and_the_last_stays():
    log, room, seat = [], set(), Seat()
    text, unet = Sitter("text", log, room), Sitter("unet", log, room)
    for sitter in (text, unet, unet, unet, text):
        with seat.taken_by(sitter):
            assert room == {sitter.name}
    assert log == ["+text", "-text", "+unet", "-unet", "+text"]


def test_who_cannot_enter_does_not_sit():
    log, room, seat = [], set(), Seat()
    good, bad = Sitter("good", log, room), Sitter("bad", log, room, fails=True)
    with seat.taken_by(good):
        pass
    with pytest.raises(MemoryError), seat.taken_by(bad):
        pass
    with seat.taken_by(good):
        assert room == {"good"}
    assert log == ["+good", "-good", "+good"]


def test_threads_wait_for_each_other():
    log, room, seat = [], set(), Seat()
    sitters = [Sitter(str(at), log, room) for at in range(4)]

    def work(sitter):
        for _ in range(50):
            with seat.taken_by(sitter):
                assert room == {sitter.name}

    threads = [threading.Thread(target=work, args=(sitter,)) for sitter in sitters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(room) == 1


def test_modules_take_turns(tiny_folder, monkeypatch):
    """On a machine without a GPU the moves are from and to the same place; they are counted all the same."""
    pytest.importorskip("torch")
    from pictor.backends import torch as backend

    seat = Seat()
    unet, decoder = (
        backend.TorchModule(tiny_folder, name, device="cpu", seat=seat) for name in ("unet", "decoder")
    )
    moves = []
    monkeypatch.setattr(
        backend.TorchModule, "enter", lambda self: moves.append(f"+{self.part.name}"), raising=True
    )
    monkeypatch.setattr(backend.TorchModule, "leave", lambda self: moves.append(f"-{self.part.name}"))
    latent = np.zeros((1, 16, 8, 8), np.float32)
    words = np.zeros((1, 7, 32), np.float32)
    for _ in range(2):
        unet.run(sample=latent, timestep=np.array([1.0]), encoder_hidden_states=words)
    decoder.run(latent=latent)
    assert moves == ["+unet", "-unet", "+decoder"]


def test_there_is_nothing_to_offload_on_a_processor(tiny_folder):
    pytest.importorskip("torch")
    import pictor

    with pytest.raises(InputError, match="GPU"):
        pictor.load(tiny_folder, device="cpu", offload=True)
