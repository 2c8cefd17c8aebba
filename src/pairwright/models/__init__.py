"""The model object, its towers, and how to get one.

`load` and `save` live in `pairwright.models.load`, `embed` in `pairwright.models.embed`, `tiny` in `pairwright.models.tiny`.
"""

from pairwright.core.exports import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "DualEncoder": "pairwright.models.dual:DualEncoder",
        "save": "pairwright.models.load.write:save",
        "models": "pairwright.models.load.catalog:models",
        "Preprocess": "pairwright.models.preprocess:Preprocess",
        "BPETokenizer": "pairwright.models.tokenize:BPETokenizer",
        "TextTransformer": "pairwright.models.towers.text:TextTransformer",
        "VisionTransformer": "pairwright.models.towers.vit:VisionTransformer",
        "TimmImage": "pairwright.models.towers.timm_image:TimmImage",
        "Rewrite": "pairwright.models.towers.block:Rewrite",
    },
)
