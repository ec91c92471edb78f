"""The ablation commands: what they measure, against closed forms, and each of them run once, tiny."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook.font import find_font

torch = pytest.importorskip("torch")

import tiny

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks" / "ablations"))

    def load(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return import_module(name)

    return load


def cells(text: str) -> list[list[str]]:
    """The rows of a printed table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_a_table_has_the_cells_of_its_head(ablation: object) -> None:
    tables = ablation("tables")  # type: ignore[operator]
    assert tables.markdown(("a", "b"), [(1, "x")]) == "| a | b |\n| --- | --- |\n| 1 | x |"
    with pytest.raises(ValueError, match="cells under 2 heads"):
        tables.markdown(("a", "b"), [(1,)])


def test_the_linear_code_is_measured_as_it_reports_itself(ablation: object) -> None:
    """On the fitted pictures the figure is the code's own, whatever part of the components is kept."""
    from pictor.training.linear_code import fit_linear_code

    latents = ablation("latents")  # type: ignore[operator]
    pictures = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)
    code = fit_linear_code(pictures, 8, 40, whitening=0.0, spread=1.0)
    few = fit_linear_code(pictures, 8, 12, whitening=0.0, spread=1.0)
    found = latents.psnr(code, pictures, [12, 40])
    np.testing.assert_allclose(found, [few.psnr, code.psnr], atol=1e-3)


def test_latents_prints_a_row_for_each_code(
    ablation: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latents = ablation("latents")  # type: ignore[operator]
    monkeypatch.setattr(latents, "GRID", ((8, (4, 8)), (16, (8, 16, 24))))
    monkeypatch.setattr(sys, "argv", ["latents.py", "--size", "32", "--count", "40"])
    latents.main()
    rows = cells(capsys.readouterr().out)
    assert [row[:4] for row in rows][1:3] == [["8x8", "8", "4x4", "128"], ["16x16", "8", "2x2", "32"]]
    assert len(rows) == 5
    for patch in ("8x8", "16x16"):
        quality = [float(row[4]) for row in rows if row[0] == patch]
        assert quality == sorted(quality)


def test_networks_of_both_kinds_learn_for_as_long(ablation: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latents that are their caption's mean, at 4x4: every network must come below the variance."""
    networks = ablation("networks")  # type: ignore[operator]
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(64, 5, 16, generator=generator)
    samples = networks.Samples(words.mean((1, 2))[:, None, None, None].expand(64, 4, 4, 4).clone(), words)
    makers = {
        "unet": networks.unet((32,), 1, samples),
        "dit": networks.transformer(32, 2, samples),
    }
    contestants = [networks.Contestant(name, network, 3e-3, 8) for name, network in makers.items()]
    before = [networks.losses(one.network, samples, torch.float32) for one in contestants]
    clock = iter(range(1000))  # an eighth of a second a step, however busy the machine is
    monkeypatch.setattr(networks.time, "perf_counter", lambda: next(clock) / 8)
    rows = networks.compare(contestants, samples, samples, seconds=1.5, turn=0.5, numbers=torch.float32)
    assert [row[0] for row in rows] == ["unet", "dit"]
    for first, row in zip(before, rows, strict=True):
        assert row[2:4] == (12, "64")
        after = [float(cell) for cell in row[4:-1]]
        assert float(row[-1]) == pytest.approx(np.mean(after), abs=1e-3)
        assert np.mean(after) < np.mean(first)


def test_the_flow_error_is_that_of_the_velocity(ablation: object) -> None:
    networks = ablation("networks")  # type: ignore[operator]
    x0, eps = torch.full((2, 1, 2, 2), 3.0), torch.full((2, 1, 2, 2), 1.0)
    t = torch.tensor([0.25, 1.0])
    error = networks.flow_error(lambda x, t, words: x, x0, eps, t, torch.zeros(2, 1, 1), torch.float32)
    torch.testing.assert_close(error, torch.tensor([(2.5 + 2.0) ** 2, (1.0 + 2.0) ** 2]))


def test_samples_are_encoded_once(ablation: object, tmp_path: Path) -> None:
    networks = ablation("networks")  # type: ignore[operator]
    model = tiny.build(tmp_path / "model", tiny.TinyConfig(latent_size=4))
    samples = networks.encoded(model / "vae", model, 32, 5, held_out=True)
    assert samples.x0.shape == (5, 16, 4, 4)
    assert samples.words.shape == (5, tiny.MAX_TOKENS, 32)


def test_sampling_is_the_engines(ablation: object, tiny_folder: Path) -> None:
    """The same prompt, noise and setting as `Studio.generate` give its picture; an interval changes it."""
    from dataclasses import replace

    import pictor

    sampling = ablation("sampling")  # type: ignore[operator]
    maker = sampling.Maker(tiny_folder, ["a red cat", "a blue dog"])
    setting = sampling.Setting(num_steps=3, solver="dpmpp_2m", spacing="uniform", scale=3.0)
    x0 = maker.latents(setting)
    made = maker.pictures(x0)
    wanted = pictor.load(tiny_folder).generate(
        "a blue dog", seed=1, num_steps=3, solver="dpmpp_2m", spacing="uniform", guidance_scale=3.0
    )[0]
    assert np.abs(made[1].astype(int) - np.asarray(wanted.image).astype(int)).max() <= 1
    assert sampling.distance(x0, x0) == 0.0
    assert sampling.distance(2 * x0, x0) == pytest.approx(1.0)
    middle = replace(setting, low=0.2, high=0.9)
    plain = replace(setting, scale=1.0)
    assert 0 < sampling.distance(maker.latents(middle), x0) < sampling.distance(maker.latents(plain), x0)


@pytest.mark.filterwarnings("ignore:the prompt is longer")  # than the tiny model's tokens
@pytest.mark.parametrize("what", ["guidance", "solvers", "models"])
def test_sampling_prints_its_tables(
    ablation: object,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    sampling = ablation("sampling")  # type: ignore[operator]
    monkeypatch.setattr(sampling, "SCALES", (1.0, 3.0))
    monkeypatch.setattr(sampling, "INTERVALS", ((0.0, 1.0), (0.2, 0.9)))
    monkeypatch.setattr(sampling, "SOLVERS", ("euler", "heun"))
    monkeypatch.setattr(sampling, "SPACINGS", ("uniform", "leading"))  # leading is for paths with timesteps
    monkeypatch.setattr(sampling, "STEPS", (2,))
    monkeypatch.setattr(
        sampling.Maker,
        "default",
        property(lambda self: sampling.Setting(num_steps=3, solver="euler", spacing="uniform", scale=2.0)),
    )
    monkeypatch.setattr(
        sampling.Setting,
        "reference",
        property(lambda self: sampling.replace(self, num_steps=6, solver="heun", spacing="uniform")),
    )
    folders = [str(tiny_folder)]
    if what == "models":
        (tmp_path / "student").symlink_to(tiny_folder)
        folders.append(str(tmp_path / "student"))
    monkeypatch.setattr(sys, "argv", ["sampling.py", what, "--count", "1", "--models", *folders])
    sampling.main()
    rows = cells(capsys.readouterr().out)
    if what == "guidance":
        assert [row[:2] for row in rows] == [["1", "0 to 1"], ["3", "0 to 1"], ["3", "0.2 to 0.9"]]
    elif what == "solvers":
        assert [row[:4] for row in rows] == [["2", "euler", "uniform", "2"], ["2", "heun", "uniform", "3"]]
        assert float(rows[1][4]) < float(rows[0][4])
    else:
        assert [row[0].rsplit("/", 1)[-1] for row in rows] == [
            f"{tiny_folder.name}, 3 steps",
            f"{tiny_folder.name}, 3 steps",
            "student, 3 steps",
        ]
        assert rows[0][1:] == rows[2][1:]
    assert all(row[-1] == "-" for row in rows)  # there is no judge
    if what != "guidance":  # which has no distances
        assert all(float(row[-3]) > 0 for row in rows)
