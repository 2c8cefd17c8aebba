"""Give an emoji its captions in every language, its category and its concept id, from the pack emojibase."""

from __future__ import annotations

from typing import Any

from pairwright.data.packs.rows import Row


class Annotations:
    """Emoji by code points (`table` is the pack emojibase)."""

    def __init__(self, table: Any) -> None:
        self.by_key: dict[str, dict[str, Any]] = {r["group"]: r for r in table.drop_columns(["image"]).to_pylist()}

    def row(self, key: str, group: str, data: bytes) -> Row | None:
        """A row for the emoji `group`, or None where emojibase does not know it."""
        known = self.by_key.get(group)
        if known is None:
            return None
        captions = list(zip(known["lang"], known["captions"], strict=True))
        return Row(key, data, known["name"], captions, group, known["category"], known["label"])
