"""What a picture was made from, as the two texts that its file carries.

`pictor` holds the whole recipe as JSON; `parameters` holds what the field's other tools read (the text of
AUTOMATIC1111's web UI). Both directions live here, and neither touches pictures or files.
"""

import dataclasses
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pictor.core.errors import InputError

RECIPE_KEY = "pictor"
"""Under which a PNG carries it."""
FORMAT = 1
"""Version of the JSON's meaning; raised when a reader of an older version would misread a file."""

LAYOUTS = ("picture", "grid", "strip", "sequence")

# Our solvers and spacings under the names that the field's tools know; others go by their own name.
_SAMPLER_NAMES = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_3m": "DPM++ 3M",
    "unipc": "UniPC",
    "lcm": "LCM",
}
_SCHEDULE_NAMES = {
    "uniform": "Uniform",
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
    "align_your_steps": "Align Your Steps",
}

# Keys are short: without a limit, a long text of letters would be read once from each of them.
_PARAMETER = re.compile(r'(\w[\w \-/]{1,63}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt:"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that it takes to make a picture again."""

    prompt: str
    negative_prompt: str = ""
    seed: int
    """Of the first picture; picture i of a batch has seed + i."""
    solver: str
    spacing: str
    num_steps: int
    guidance_scale: float
    width: int
    """Of what the model painted, in pixels; pasted into a larger picture, that one's size is its own."""
    height: int
    task: str = "text2image"
    count: int = 1
    """Pictures that the file shows."""
    layout: str = "picture"
    """`picture`; `grid`, a sheet of `count` pictures; `strip`, the estimates of one picture step by step;
    `sequence`, `count` pictures one after the other."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each input besides the words (given latents, a start picture, a mask)."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What the task was asked besides: JSON values by the names of its request's fields."""
    model_name: str
    model_hash: str
    """SHA-256 over the model's weights."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Name and SHA-256 of each adapter."""
    version: str
    """Of the code."""
    backend: str
    dtype: str

    def to_json(self) -> str:
        """One line of ASCII JSON with the field names as keys, and `format`."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Read what `to_json` wrote; keys that a newer version added are passed over.

        Raises:
            InputError: it is no JSON object, lacks a field, a field has the wrong type, or a newer version
                gives the fields another meaning.
        """
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the recipe is no JSON ({error})", expected="the recipe of a picture") from None
        if not isinstance(record, dict):
            raise InputError("the recipe is no JSON object", expected="the recipe of a picture")
        if record.get("format", FORMAT) != FORMAT:
            raise InputError(
                f"the recipe has the format {str(record['format'])[:60]!r}",
                expected=f"format {FORMAT}",
                remedy="Another version of Pictor wrote it: use that one.",
            )
        values: dict[str, Any] = {}
        for spec in dataclasses.fields(cls):
            if spec.name in record:
                values[spec.name] = _checked(spec.name, record[spec.name])
            elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
                raise InputError(f"the recipe has no {spec.name}", expected="the recipe of a picture")
        recipe = cls(**values)
        if recipe.count != 1 and recipe.layout not in ("grid", "sequence"):
            raise InputError(
                f"the recipe tells of {recipe.count} pictures in a {recipe.layout}", expected="one picture"
            )
        return recipe

    def to_parameters(self) -> str:
        """The A1111 text: prompt, negative prompt, and one line of settings."""
        settings: dict[str, object] = {
            "Steps": self.num_steps,
            "Sampler": _SAMPLER_NAMES.get(self.solver, self.solver),
            "Schedule type": _SCHEDULE_NAMES.get(self.spacing, self.spacing),
            "CFG scale": f"{self.guidance_scale:g}",
            "Seed": self.seed,
            "Size": f"{self.width}x{self.height}",
            "Model hash": self.model_hash[:10],
            "Model": self.model_name,
            "Version": f"pictor {self.version}",
        }
        return Parameters(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            settings={key: str(value) for key, value in settings.items() if value != ""},
        ).to_text()


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The A1111 text of a picture, taken apart."""

    prompt: str
    negative_prompt: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def to_text(self) -> str:
        """The text as A1111 writes it; a value with a comma, a colon or a line break is JSON-quoted."""
        lines = [self.prompt]
        if self.negative_prompt:
            lines.append(f"{_NEGATIVE} {self.negative_prompt}")
        lines.append(", ".join(f"{key}: {_quoted(value)}" for key, value in self.settings.items()))
        return "\n".join(lines)

    @classmethod
    def from_text(cls, text: str) -> "Parameters":
        """Take the text apart; never fails, since any text is at least a prompt."""
        *body, last = text.strip().split("\n")
        found = _PARAMETER.findall(last)
        settings = {key: _unquoted(value) for key, value in found}
        if len(found) < 3:
            body, settings = [*body, last], {}
        prompt: list[str] = []
        negative: list[str] | None = None
        for line in body:
            if negative is None and line.strip().startswith(_NEGATIVE):
                negative = [line.strip().removeprefix(_NEGATIVE).strip()]
            elif negative is None:
                prompt.append(line)
            else:
                negative.append(line)
        return cls(
            prompt="\n".join(prompt).strip(),
            negative_prompt="\n".join(negative or []).strip(),
            settings=settings,
        )


def _quoted(value: str) -> str:
    ambiguous = re.search(r'[,:\n]|^\s|\s$|^"', value)
    return json.dumps(value, ensure_ascii=False) if ambiguous else value


def _unquoted(value: str) -> str:
    if not (value.startswith('"') and value.endswith('"')):
        return value.strip()
    try:
        return str(json.loads(value))
    except ValueError:
        return value


_LARGEST = sys.float_info.max
_INTEGERS = {"seed", "num_steps", "width", "height", "count"}
_MAPPINGS = {"inputs", "adapters"}


def _checked(name: str, value: Any) -> Any:
    """The value of a field with the type that it must have; files are not to be trusted."""
    if name in _INTEGERS:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    elif name == "guidance_scale":
        # An integer has no limit, and a float has.
        fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST
    elif name == "parameters":
        fits = isinstance(value, dict)
    elif name in _MAPPINGS:
        fits = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    elif name == "layout":
        fits = value in LAYOUTS
    else:
        fits = isinstance(value, str)
    if not fits:
        raise InputError(f"the recipe's {name} is {str(value)[:60]!r}", expected="the recipe of a picture")
    return float(value) if name == "guidance_scale" else value
