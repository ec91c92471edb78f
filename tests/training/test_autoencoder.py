"""The decoder of a linear code: sizes, going on from an earlier one, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook.font import find_font

torch = pytest.importorskip("torch")

from pictor.training.linear_code import read_linear_code
from pictor.training.objectives import autoencoder as autoencoder_module
from pictor.training.objectives import build
from pictor.training.planes import planes

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

SIXTEEN = {
    "kind": "autoencoder",
    "size": 32,
    "factor": 16,
    "channels": 24,
    "width": 8,
    "blocks": [1, 1, 1, 0, 0],
}


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder_module, "_FITTED", 60)


def made(**keys: Any) -> Any:
    return build(SIXTEEN | keys, 0)


def test_the_network_computes_the_code_that_training_uses() -> None:
    objective = made()
    image = planes(objective.batch(0, 4)["image"])
    with torch.no_grad():
        torch.testing.assert_close(
            objective.module.encoder(image), objective.encoder(image), atol=1e-4, rtol=0
        )
        assert objective.module.decoder(objective.encoder(image)).shape == image.shape
    assert objective.encoder(image).shape == (4, 24, 2, 2)


def test_more_numbers_keep_more() -> None:
    assert made(channels=48).code.psnr > made().code.psnr + 1


def test_going_on_keeps_the_code_and_the_decoder(tmp_path: Path) -> None:
    first = made()
    torch.nn.init.normal_(first.module.decoder.layers[0].weight)
    first.save(tmp_path / "model")
    onwards = made(start=str(tmp_path / "model"), size=64)
    for name, weight in first.module.state_dict().items():
        torch.testing.assert_close(onwards.module.state_dict()[name], weight)
    np.testing.assert_allclose(onwards.code.weight, first.code.weight, atol=1e-5)
    image = planes(first.batch(0, 2)["image"])
    torch.testing.assert_close(onwards.encoder(image), first.encoder(image), atol=1e-4, rtol=0)
    assert abs(onwards.code.psnr - first.code.psnr) < 3


def test_an_autoencoder_of_other_sizes_is_refused(tmp_path: Path) -> None:
    made().save(tmp_path / "model")
    with pytest.raises(InputError, match="other sizes"):
        made(start=str(tmp_path / "model"), width=16)


@pytest.mark.parametrize("wrong", [{"blocks": [1, 1, 1, 1]}, {"channels": 193}, {"factor": 4}])
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        made(**wrong)


def test_an_encoder_that_is_no_linear_code_is_told() -> None:
    objective = made()
    pictures = np.stack([objective.source.pictures.book.picture(i) for i in range(8)])
    with torch.no_grad():
        for layer in objective.module.encoder.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.normal_()
    network = torch.nn.Sequential(objective.module.encoder, torch.nn.SiLU())
    with pytest.raises(ValueError, match="no linear code"):
        read_linear_code(network, 16, pictures)
