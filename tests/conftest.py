"""What tests share: a tiny exported model, and a place of their own for everything that Pictor writes."""

import hashlib
import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # processes share the cores; torch is imported after this

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that started the tests in the background has commands ignore Ctrl-C, and they what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches of the tests stay out of the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PICTOR_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def tiny_folder(pytestconfig: pytest.Config) -> Path:
    """A tiny model with graphs. Exporting takes half a minute, so it is kept until its makers change."""
    for needed in ("torch", "diffusers", "transformers", "onnx", "onnxscript"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"the tiny model is made with {needed}")
    makers = [HERE / "tiny.py", *sorted((HERE.parent / "src" / "pictor" / "backends").glob("*.py"))]
    digest = hashlib.sha256(b"".join(maker.read_bytes() for maker in makers))
    digest.update(f"{version('torch')} {version('diffusers')} {version('onnx')}".encode())
    folder = Path(pytestconfig.cache.mkdir("tiny")) / digest.hexdigest()[:16]
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "complete").is_file():
            import tiny

            from pictor.backends.export import export_folder

            shutil.rmtree(folder, ignore_errors=True)
            tiny.build(folder)
            export_folder(folder)
            (folder / "complete").touch()
    return folder


@pytest.fixture(scope="session")
def vivid_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with contrast: random decoders paint nearly black, where no difference would show.

    The graphs read the same file, so that its numbers can be changed where they lie.
    """
    from pictor.backends.weights import read_header

    folder = Path(shutil.copytree(tiny_folder, tmp_path_factory.mktemp("vivid") / "vivid"))
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(file.read_bytes())
    last = [(name, entry) for name, entry in read_header(file).items() if entry.shape[:1] == (3,)]
    assert sorted(name.rsplit(".")[-1] for name, _ in last) == ["bias", "weight"]
    for name, entry in last:
        raw = np.frombuffer(data, np.float16, entry.length // 2, entry.offset)
        changed = raw * 24 if name.endswith("weight") else raw * 0 + 0.5
        data[entry.offset : entry.offset + entry.length] = changed.astype(np.float16).tobytes()
    file.write_bytes(data)
    return folder


@pytest.fixture
def tiny_copy(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may damage."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.fixture(scope="session")
def seeing(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with an untrained picture encoder beside it."""
    import torch
    import transformers

    from pictor.data.picturebook.phrases import phrase_tables
    from pictor.training.picture_encoder import write_picture_encoder

    folder = tmp_path_factory.mktemp("seeing") / "model"
    shutil.copytree(tiny_folder, folder)
    text = transformers.CLIPTextModel.from_pretrained(folder / "text_encoder").config
    torch.manual_seed(0)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = transformers.CLIPVisionConfig(
        **tower, image_size=32, patch_size=8, projection_dim=text.hidden_size
    )
    write_picture_encoder(
        folder,
        transformers.CLIPVisionModelWithProjection(vision),
        languages=phrase_tables(("apple", "cat", "bread")),
        scale=10.0,
        offset=-1.0,
    )
    return folder
