"""What the picturebook can draw, and how English and Chinese call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pictor.data.picturebook.recolour import Surface
from pictor.data.picturebook.things import TABLE

_PLURAL = frozenset(
    [
        *("grapes", "cherries", "peanuts", "pancakes", "socks", "glasses", "sunglasses", "trousers", "jeans"),
        *("scissors", "headphones", "noodles", "french fries", "fries", "fallen leaves", "autumn leaves"),
        "piano keys",
    ]
)
_MASS = frozenset(
    [
        *(
            "bread",
            "corn",
            "garlic",
            "cheese",
            "salad",
            "green salad",
            "popcorn",
            "spaghetti",
            "pasta",
            "sushi",
        ),
        *("chocolate", "honey", "milk", "coffee", "tea", "wine", "beer", "fire", "lightning", "broccoli"),
        "cabbage",
    ]
)
_IRREGULAR = {
    "mouse": "mice",
    "wolf": "wolves",
    "knife": "knives",
    "leaf": "leaves",
    "sheep": "sheep",
    "fish": "fish",
    "deer": "deer",
    "shrimp": "shrimp",
    "squid": "squid",
    "goose": "geese",
    "ox": "oxen",
    "policeman": "policemen",
    "snowman": "snowmen",
    "die": "dice",
    "dice": "dice",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mango": "mangoes",
}


@dataclass(frozen=True, slots=True)
class Thing:
    """One drawable object: its emoji and its names."""

    emoji: str
    names: tuple[str, ...]
    """English names, the natural one first."""
    zh_names: tuple[str, ...]
    """Chinese names, the natural one first."""
    measure: str
    """The Chinese measure word that counts it."""
    surface: Surface | Literal["never"]
    """What takes colour; "never": it is drawn as the font has it."""

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def countable(self) -> bool:
        """Whether "two ..." can be said and drawn."""
        return self.name not in _PLURAL and self.name not in _MASS


@dataclass(frozen=True, slots=True)
class Colour:
    """One named colour and the sRGB value, 0 to 255, of a surface that people call so."""

    name: str
    zh: str
    rgb: tuple[int, int, int]
    words: tuple[str, ...]
    """What English calls it."""


def has_article(name: str) -> bool:
    """Whether English puts "a" before this name."""
    return name not in _PLURAL and name not in _MASS


def article(words: str) -> str:
    """What English puts before these words, by their sound: "an orange cat", "a unicorn", "an hourglass"."""
    vowel = words[0] in "aeiou" and not words.startswith(("uni", "euro", "ufo"))
    return "an" if vowel or words.startswith("hour") else "a"


def plural(name: str) -> str:
    """The English plural: "slices of cake", "mice", "pine trees"."""
    head, of, rest = name.partition(" of ")
    if not of:
        head, _, rest = name.partition(" on ")
        of = " on " if rest else ""
    first, space, last = head.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith(("s", "sh", "ch", "x", "z")):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{first}{space}{last}{of}{rest}"


def _things(table: str) -> tuple[Thing, ...]:
    things = []
    for line in table.strip().splitlines():
        if line.startswith("#"):
            continue
        emoji, names, zh_names, measure, *surface = (field.strip() for field in line.split("|"))
        things.append(
            Thing(
                emoji,
                tuple(name.strip() for name in names.split(",")),
                tuple(name.strip() for name in zh_names.split(",")),
                measure,
                surface[0] if surface else "main",  # type: ignore[arg-type]
            )
        )
    return tuple(things)


THINGS: tuple[Thing, ...] = _things(TABLE)

COLOURS: tuple[Colour, ...] = (
    Colour("red", "红色", (222, 32, 38), ("red",)),
    Colour("orange", "橙色", (252, 138, 14), ("orange",)),
    Colour("yellow", "黄色", (252, 218, 34), ("yellow",)),
    Colour("green", "绿色", (52, 168, 60), ("green",)),
    Colour("teal", "青色", (12, 160, 156), ("teal",)),
    Colour("blue", "蓝色", (36, 92, 226), ("blue",)),
    Colour("purple", "紫色", (136, 52, 190), ("purple",)),
    Colour("pink", "粉色", (250, 132, 188), ("pink",)),
    Colour("brown", "棕色", (132, 82, 44), ("brown",)),
    Colour("black", "黑色", (40, 40, 46), ("black",)),
    Colour("white", "白色", (246, 246, 248), ("white",)),
    Colour("gray", "灰色", (146, 148, 154), ("gray", "gray", "grey")),
)

THING_BY_NAME = {thing.name: thing for thing in THINGS}
COLOUR_BY_NAME = {colour.name: colour for colour in COLOURS}
