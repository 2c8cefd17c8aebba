"""The names of everything the world can show. A world uses the first so many of each, so a bigger vocabulary contains the smaller."""

from __future__ import annotations

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 30, 38),
    "blue": (30, 80, 220),
    "green": (30, 150, 50),
    "yellow": (250, 220, 30),
    "purple": (125, 40, 165),
    "orange": (245, 130, 20),
    "white": (252, 252, 252),
    "black": (18, 18, 20),
    "pink": (250, 145, 190),
    "brown": (120, 70, 30),
    "cyan": (40, 210, 230),
    "gray": (120, 122, 126),
    "lime": (160, 235, 40),
    "navy": (18, 28, 100),
    "magenta": (230, 30, 190),
    "teal": (0, 125, 125),
    "maroon": (115, 10, 35),
    "olive": (125, 125, 20),
    "lavender": (185, 160, 245),
    "peach": (255, 190, 145),
    "mint": (150, 245, 190),
    "indigo": (75, 20, 240),
    "gold": (205, 155, 10),
    "azure": (90, 165, 255),
}
SHAPES: tuple[str, ...] = (
    "circle", "square", "triangle", "star", "heart", "cross", "ring", "moon",
    "bar", "arrow", "bolt", "house", "drop", "fish", "flower", "gear",
    "hourglass", "tree", "arch", "bone", "cup", "kite", "crown", "anvil",
)  # fmt: skip
TEXTURES: tuple[str, ...] = ("plain", "striped", "dotted", "checked", "ringed", "zigzag")
SIZES: dict[int, dict[str, float]] = {
    1: {"normal": 1.0},
    2: {"small": 0.55, "large": 1.0},
    3: {"small": 0.5, "medium": 0.73, "large": 1.0},
}
COUNTS: tuple[str, ...] = ("one", "two", "three", "four")
BACKGROUNDS: tuple[str, ...] = ("sky", "grass", "sand", "brick", "water", "wood", "snow", "night", "paper", "leaves")
STYLES: tuple[str, ...] = ("natural", "pastel", "dusk", "sepia", "grainy", "blurred", "blocky")
RELATIONS: tuple[str, ...] = ("left", "right", "above", "below")
EVENTS: tuple[str, ...] = ("appears", "disappears", "moves left", "moves right", "moves up", "moves down", "collides with")
ROWS: tuple[str, ...] = ("top", "middle", "bottom")
COLUMNS: tuple[str, ...] = ("left", "center", "right")


def first(names: tuple[str, ...] | dict[str, object], how_many: int, what: str) -> tuple[str, ...]:
    """The first `how_many` names of a vocabulary, or a ValueError that says how many there are."""
    if not 1 <= how_many <= len(names):
        raise ValueError(f"the world knows 1 to {len(names)} {what}, got {how_many}")
    return tuple(names)[:how_many]
