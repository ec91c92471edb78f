"""Models that tests train share the graphs of what is alike."""

import importlib.util

import pytest


@pytest.fixture(scope="module", autouse=True)
def _kept_graphs(pytestconfig):
    if importlib.util.find_spec("onnxscript") is None:
        yield
        return
    from kept_graphs import exporter

    from pictor.backends import export

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export_part", exporter(pytestconfig))
        yield
