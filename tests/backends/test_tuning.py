"""The choice of how layers are computed: results stay, measurements are kept, memory is bounded."""

import copy
import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from pictor.backends import tuning
from pictor.backends.kept import cache_folder
from pictor.backends.layer_ways import PLAIN, WAYS, Replaced
from pictor.backends.onnx import OnnxModule
from pictor.backends.torch import TorchModule
from pictor.backends.tuning import tune
from pictor.core.notices import PictorWarning


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PICTOR_HOME", str(tmp_path))


@pytest.fixture
def network():
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    made = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    return made.eval().requires_grad_(False)


def call(network, inputs):
    return network(**inputs).sample


INPUTS = {
    "sample": torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)),
    "timestep": torch.tensor([500.0, 20.0]),
    "encoder_hidden_states": torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(2)),
}


@pytest.fixture
def preferred(monkeypatch):
    """Make one way look fastest, and every layer worth a look; counts what is tried out."""
    monkeypatch.setattr(tuning, "_LEAST_OPERATIONS", 0)
    tried = []

    def prefer(way):
        def times(site):
            tried.append(site.key)
            return {name: 1.0 if name == way else 2.0 for name in (PLAIN, *tuning.ways_of(site.layer))}

        monkeypatch.setattr(tuning, "_try_out", times)
        return tried

    return prefer


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_result(network, preferred, monkeypatch, way):
    monkeypatch.setattr(tuning, "_MORE_MEMORY", 10)
    preferred(way)
    with torch.inference_mode():
        before = call(network, INPUTS)
        chosen = tune(network, call, INPUTS)
        after = call(network, INPUTS)
    assert set(chosen.values()) == {way}
    assert len(chosen) == sum(isinstance(layer, Replaced) for layer in network.modules()) > 2
    assert float((after - before).norm() / before.norm()) < 1e-5


def test_layers_are_really_tried_out(network, monkeypatch):
    monkeypatch.setattr(tuning, "_LEAST_OPERATIONS", 0)
    with torch.inference_mode():
        before = call(network, INPUTS)
        tune(network, call, INPUTS)
        assert float((call(network, INPUTS) - before).norm() / before.norm()) < 1e-5
    (times,) = json.loads((cache_folder() / "layers.json").read_text()).values()
    assert all(PLAIN in ways and min(ways.values()) > 0 for ways in times.values())


def test_small_layers_stay_as_they_are(network):
    with torch.inference_mode():
        assert tune(network, call, INPUTS) == {}
    assert not (cache_folder() / "layers.json").exists()


def test_a_shape_is_tried_out_once(network, preferred):
    tried = preferred("packed linear")
    with torch.inference_mode():
        tune(copy.deepcopy(network), call, INPUTS)
        count = len(tried)
        tune(network, call, INPUTS)
    assert count == len(set(tried)) == len(tried) > 2


@pytest.mark.parametrize("damage", ["", "[1]", '{"here": 3}', "every"])
def test_a_damaged_record_is_made_again(network, preferred, damage):
    tried = preferred("packed linear")
    cache = cache_folder() / "layers.json"
    with torch.inference_mode():
        tune(copy.deepcopy(network), call, INPUTS)
        if damage == "every":
            (here,) = json.loads(cache.read_text())
            damage = json.dumps({here: {key: {"plain": "fast"} for key in tried}})
        count = len(tried)
        cache.write_text(damage)
        tune(network, call, INPUTS)
    assert len(tried) > count


def test_memory_is_bounded(network, preferred, monkeypatch):
    preferred("winograd 4")
    bytes_of = sum(p.numel() * 4 for p in network.parameters())
    layers = dict(network.named_modules())
    weights = {name: layer.weight.numel() * 4 for name, layer in layers.items() if hasattr(layer, "weight")}
    taken = {}
    for share in (0.0, 0.3, 10.0):
        monkeypatch.setattr(tuning, "_MORE_MEMORY", share)
        sites = tuning._sites(network, call, INPUTS)
        chosen = tuning._chosen(sites, tuning._measured({s.key: s for s in sites}), share * bytes_of)
        taken[share] = sum(3 * weights[name] for name, way in chosen.items() if way == "winograd 4")
        assert taken[share] <= share * bytes_of
    assert 0 == taken[0.0] < taken[0.3] < taken[10.0]


def test_a_module_tunes_itself_before_its_first_run(tiny_folder, inputs, preferred):
    latent = inputs("decoder")
    tried = preferred("packed convolution")
    module = TorchModule(tiny_folder, "decoder", device="cpu")
    after = module.run(**latent)["image"]
    count = len(tried)
    assert count > 2
    again = module.run(**latent)["image"]
    assert len(tried) == count
    np.testing.assert_array_equal(after, again)
    exact = OnnxModule(tiny_folder / "vae" / "decoder.onnx").run(**latent)["image"]
    np.testing.assert_allclose(after, exact, atol=1e-4)


def test_a_way_that_fails_is_not_taken(network, monkeypatch):
    def fails(layer, shape):
        raise RuntimeError("not on this machine")

    broken = {name: dataclasses.replace(way, made=fails) for name, way in WAYS.items()}
    monkeypatch.setattr(tuning, "_LEAST_OPERATIONS", 0)
    monkeypatch.setattr("pictor.backends.layer_ways.WAYS", broken)
    with torch.inference_mode():
        before = call(network, INPUTS)
        assert tune(network, call, INPUTS) == {}
        assert torch.equal(call(network, INPUTS), before)


def test_a_network_that_cannot_be_tuned_runs_as_it_is(tiny_folder, inputs, monkeypatch):
    latent = inputs("decoder")
    exact = OnnxModule(tiny_folder / "vae" / "decoder.onnx").run(**latent)["image"]

    def fails(*_):
        raise TypeError("the library has changed")

    monkeypatch.setattr(tuning, "tune", fails)
    module = TorchModule(tiny_folder, "decoder", device="cpu")
    with pytest.warns(PictorWarning, match="the library has changed"):
        made = module.run(**latent)["image"]
    np.testing.assert_allclose(made, exact, atol=1e-4)
    np.testing.assert_array_equal(module.run(**latent)["image"], made)


def test_processes_add_to_each_others_measurements(network, preferred, monkeypatch):
    preferred("packed linear")
    cache = cache_folder() / "layers.json"
    measure = tuning._try_out

    def meanwhile(site):
        """Another process writes between reading and writing."""
        record = json.loads(cache.read_text()) if cache.exists() else {}
        here = tuning._here()
        record[here] = {**record.get(here, {}), "other": {"plain": 1.0}}
        cache.parent.mkdir(exist_ok=True)
        cache.write_text(json.dumps(record | {"elsewhere": {}}))
        return measure(site)

    monkeypatch.setattr(tuning, "_try_out", meanwhile)
    with torch.inference_mode():
        tune(network, call, INPUTS)
    kept = json.loads(cache.read_text())
    assert kept["elsewhere"] == {}
    assert kept[tuning._here()]["other"] == {"plain": 1.0}
    assert len(kept[tuning._here()]) > 2


def test_each_layer_is_let_go_before_the_next_is_made(network, preferred, monkeypatch):
    import gc
    import weakref

    preferred("packed linear")
    layers = [weakref.ref(m) for m in network.modules() if type(m) is torch.nn.Linear]
    alive = []
    way = WAYS["packed linear"]

    def made(layer, shape):
        gc.collect()
        alive.append(sum(ref() is not None for ref in layers))
        return way.made(layer, shape)

    monkeypatch.setattr(
        "pictor.backends.layer_ways.WAYS", WAYS | {"packed linear": dataclasses.replace(way, made=made)}
    )
    with torch.inference_mode():
        tune(network, call, INPUTS)
    assert alive == sorted(alive, reverse=True)
    assert alive[-1] < alive[0]
