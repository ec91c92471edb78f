"""Graphs of tests' tiny models, traced once: tracing takes seconds a part, and a graph holds no weights.

Parts whose tensors have the same names, types, shapes and places, and whose networks have the same
configuration, have the same graph.
"""

import hashlib
import importlib.util
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from pictor.backends import export
from pictor.backends.base import PARTS
from pictor.backends.weights import find_weights, read_header
from pictor.families import stable_diffusion_xl
from pictor.families.parts import clip

_trace = export.export_part


def exporter(config):
    """What stands in for `export_part`: traces what was not traced before by the same code."""
    makers = [Path(module.__file__) for module in (stable_diffusion_xl, clip)]
    makers += sorted(Path(export.__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(maker.read_bytes() for maker in makers))
    digest.update(f"{version('torch')} {version('diffusers')} {version('onnx')}".encode())
    kept = Path(config.cache.mkdir("graphs")) / digest.hexdigest()[:16]
    kept.mkdir(exist_ok=True)

    def export_part(folder, part):
        part = PARTS[part] if isinstance(part, str) else part
        place = folder / part.subfolder
        headers = {file.name: read_header(file) for file in find_weights(place)}
        settings = (place / "config.json").read_text()
        shape = repr((part.name, part.inputs, part.outputs, settings, headers)).encode()
        known = kept / f"{hashlib.sha256(shape).hexdigest()}.onnx"
        if not known.is_file():
            mine = known.with_suffix(f".{os.getpid()}")
            shutil.copy(_trace(folder, part), mine)
            mine.replace(known)
        return Path(shutil.copy(known, place / part.graph))

    return export_part


@pytest.fixture(scope="module", autouse=True)
def share_graphs(pytestconfig):
    """For a conftest: models that a module's tests write share the graphs of what is alike."""
    if importlib.util.find_spec("onnxscript") is None:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export_part", exporter(pytestconfig))
        yield
