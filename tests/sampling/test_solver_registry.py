"""Solvers by name: found without a list, options checked, levels checked."""

import subprocess
import sys

import pytest
from sampling_oracles import even_grid, vp

from pictor.core.errors import InputError, PlanError
from pictor.sampling import all_solvers, registry, solver

LEVELS = even_grid(10.0, 0.1, 4)


def test_the_promised_solvers_are_there():
    promised = "euler heun ddim ddpm dpmpp_2m dpmpp_2m_sde dpmpp_3m unipc lcm euler_ancestral"
    assert set(promised.split()) <= set(all_solvers())
    for name, info in all_solvers().items():
        assert info.name == name
        assert info.description
        assert solver(name) is info


def test_an_unknown_solver_is_told_the_names():
    with pytest.raises(InputError, match=r"solver 'plms'; expected one of ddim, ddpm, .*unipc") as caught:
        solver("plms")
    assert caught.value.param == "solver"


@pytest.mark.parametrize("name", all_solvers())
def test_an_unknown_option_is_told_the_options(name):
    with pytest.raises(InputError, match=f"solver {name} has no option 'ete'; expected") as caught:
        solver(name)(LEVELS, ete=1.0)
    assert caught.value.param == "ete"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ddim", {"eta": 1.5}),
        ("ddim", {"eta": float("nan")}),
        ("ddim", {"eta": "1"}),
        ("ddim", {"eta": True}),
        ("euler_ancestral", {"eta": -0.1}),
        ("dpmpp_2m_sde", {"eta": 2}),
        ("dpmpp_3m", {"as_published": 1}),
        ("ddpm", {"variance": "learned"}),
        ("heun", {"clock": "sigma"}),
        ("unipc", {"order": 3}),
        ("unipc", {"variant": "bh3"}),
        ("lcm", {"timestep_scaling": -1.0}),
    ],
)
def test_values_out_of_range_are_refused(name, options):
    with pytest.raises(InputError, match=next(iter(options))) as caught:
        solver(name)(LEVELS, **options)
    assert caught.value.param == next(iter(options))


def test_options_are_listed_with_their_defaults():
    assert solver("euler").options == {}
    assert solver("unipc").options == {"order": 2, "variant": "bh2"}


@pytest.mark.parametrize(
    "levels", [[], [vp(1.0)], [vp(1.0), vp(2.0)], [vp(1.0), vp(1.0)], [vp(1.0), vp(0.0), vp(0.0)]]
)
def test_levels_that_do_not_fall_are_refused(levels):
    with pytest.raises(PlanError, match="noise"):
        solver("euler")(levels)


def test_a_solver_is_one_new_file(tmp_path, monkeypatch):
    (tmp_path / "jump.py").write_text(
        "from pictor.sampling.program import Coefficients, Step\n"
        "from pictor.sampling.registry import register\n\n"
        "@register('jump', description='one step')\n"
        "def jump(levels, *, far=1.0):\n"
        "    return [Step(level=levels[0], x=Coefficients(d0=far), then=levels[-1])]\n"
    )
    package = sys.modules["pictor.sampling.solvers"]
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "_FOUND", dict(registry._FOUND))
    registry.solvers.cache_clear()
    try:
        assert solver("jump")(LEVELS, far=2.0)[0].x.d0 == 2.0
    finally:
        registry.solvers.cache_clear()
        sys.modules.pop("pictor.sampling.solvers.jump", None)


def test_two_solvers_of_one_name_are_a_mistake():
    with pytest.raises(ValueError, match="two solvers are named euler"):
        registry.register("euler", description="")(lambda levels: [])


def test_sampling_needs_neither_torch_nor_a_backend():
    code = (
        "import sys, pictor.sampling as s; s.all_solvers();"
        "sys.exit(any(n.split('.')[0] in ('torch', 'onnxruntime', 'pydantic') for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
