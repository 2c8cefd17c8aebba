"""Models by name: `load`, `save`, the list of what can be named (`models`, `available`), and `read_state` for checkpoints."""

from pairwright.core.exports import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "load": "pairwright.models.load.entry:load",
        "save": "pairwright.models.load.write:save",
        "models": "pairwright.models.load.catalog:models",
        "available": "pairwright.models.load.catalog:available",
        "read_state": "pairwright.models.load.checkpoint:read_state",
    },
)
