"""Places, styles and relations: what can be said of a scene besides its objects."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """One kind of background and the phrases that name it."""

    name: str
    phrases: tuple[str, ...]
    zh_phrases: tuple[str, ...]
    """Each goes before the object."""
    outdoors: bool = False
    """Whether it can be night there."""
    hides: tuple[str, ...] = ()
    """Colours that cannot be seen against it."""


@dataclass(frozen=True, slots=True)
class Style:
    """One way to draw a whole picture."""

    name: str
    before: tuple[str, ...] = ()
    """English that goes before the rest: "pixel art of", "a pencil sketch of"."""
    after: tuple[str, ...] = ()
    """English that goes after the rest, behind a comma."""
    zh_before: tuple[str, ...] = ()
    zh_after: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()
    """Colours that this style cannot show."""
    hides_places: tuple[str, ...] = ()
    """Places that nobody would know again in this style."""
    hides_night: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    """How the first of two objects stands to the second."""

    name: str
    words: tuple[str, ...]
    zh: tuple[str, ...]
    """Templates over the second object's words, which go before the first object."""
    inverse: str
    upright: bool
    """Whether the two stand one above the other, else side by side."""


PLACES: tuple[Place, ...] = (
    Place("white", ("on a white background", "on white"), ("白色背景上的", "白底的"), hides=("white",)),
    Place("black", ("on a black background", "on black"), ("黑色背景上的", "黑底的"), hides=("black",)),
    Place("yellow", ("on a yellow background",), ("黄色背景上的",), hides=("yellow",)),
    Place("pink", ("on a pink background",), ("粉色背景上的",), hides=("pink",)),
    Place("blue", ("on a blue background",), ("蓝色背景上的",), hides=("blue",)),
    Place("sky", ("in the sky", "among the clouds"), ("天空中的", "天上的"), outdoors=True, hides=("white",)),
    Place("grass", ("on grass", "on the grass", "in a meadow"), ("草地上的", "草坪上的"), outdoors=True),
    Place("forest", ("in the forest", "in the woods"), ("森林里的", "树林里的"), outdoors=True),
    Place("mountains", ("in the mountains",), ("山里的", "群山中的"), outdoors=True),
    Place("desert", ("in the desert", "on sand"), ("沙漠里的", "沙地上的"), outdoors=True),
    Place("beach", ("on the beach", "by the sea"), ("沙滩上的", "海边的"), outdoors=True),
    Place("sea", ("at sea", "in the sea", "on the water"), ("大海里的", "海上的"), outdoors=True),
    Place("snow", ("in the snow", "on snow"), ("雪地里的", "雪中的"), outdoors=True, hides=("white",)),
    Place("city", ("in the city", "on the street"), ("城市里的", "街道上的"), outdoors=True),
    Place("sunset", ("at sunset", "in the sunset"), ("日落时的", "夕阳下的")),
    Place("mars", ("on mars", "on the red planet"), ("火星上的",), hides=("red", "orange")),
    Place("space", ("in space", "in outer space"), ("太空中的", "宇宙中的"), hides=("black",)),
    Place("underwater", ("under water", "underwater"), ("水下的", "水底的"), hides=("blue",)),
    Place("room", ("in a room", "at home"), ("房间里的", "屋里的")),
)

NIGHT_PHRASES = ("at night", "by night")
NIGHT_SKY_PHRASES = ("in the night sky", "under the stars")
ZH_NIGHT, ZH_NIGHT_SKY = "夜晚", ("夜空中的", "星空下的")
NIGHT_HIDES = ("black",)

STYLES: tuple[Style, ...] = (
    Style("plain"),
    Style("flat", ("a flat drawing of",), ("flat design", "flat style"), ("扁平风格的",), ("扁平风格",)),
    Style(
        "pixel art",
        ("pixel art of", "a pixel art picture of"),
        ("pixel art", "pixel art style"),
        ("像素风格的",),
        ("像素画", "像素风格"),
    ),
    Style(
        "pencil sketch",
        ("a pencil sketch of", "a sketch of"),
        ("pencil sketch", "sketch"),
        ("铅笔画风格的",),
        ("铅笔画", "素描"),
        hides=("black", "white", "gray"),
        hides_places=("black", "space"),
        hides_night=True,
    ),
    Style(
        "pastel",
        ("a pastel drawing of",),
        ("pastel", "in pastel colors"),
        ("粉彩风格的",),
        ("粉彩画",),
        hides=("black", "white", "gray"),
        hides_places=("black", "space"),
        hides_night=True,
    ),
    Style(
        "neon",
        ("neon art of", "a neon picture of"),
        ("neon", "neon style"),
        ("霓虹风格的",),
        ("霓虹风格", "霓虹灯"),
        hides=("black", "brown", "gray", "white"),
        hides_places=("white", "yellow", "pink", "blue", "snow"),
    ),
    Style("mosaic", ("a mosaic of",), ("mosaic", "mosaic style"), ("马赛克风格的",), ("马赛克",)),
)

RELATIONS: tuple[Relation, ...] = (
    Relation("on", ("on", "on top of"), ("{}上面的",), "under", upright=True),
    Relation("under", ("under", "below"), ("{}下面的",), "on", upright=True),
    Relation("left of", ("left of", "to the left of"), ("{}左边的",), "right of", upright=False),
    Relation("right of", ("right of", "to the right of"), ("{}右边的",), "left of", upright=False),
    Relation("next to", ("next to", "beside"), ("{}旁边的",), "next to", upright=False),
)

PLACE_BY_NAME = {place.name: place for place in PLACES}
STYLE_BY_NAME = {style.name: style for style in STYLES}
RELATION_BY_NAME = {relation.name: relation for relation in RELATIONS}
