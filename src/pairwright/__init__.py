"""pairwright: the toolkit for contrastive vision-language models.

>>> import pairwright as pw
>>> clip = pw.load("sprout")                                # doctest: +SKIP
>>> images = pw.embed(clip, images="icons/")                # doctest: +SKIP
>>> words = pw.embed(clip, texts=["a red apple"])           # doctest: +SKIP
>>> images.z @ words.z.T                                    # doctest: +SKIP

Everything below loads on first use, so that importing the package costs next to nothing.
"""

from pairwright.core.exports import lazy

__version__ = "0.1.0"

API = {
    # models and embeddings
    "load": "pairwright.models.load:load",
    "save": "pairwright.models.load:save",
    "embed": "pairwright.models.embed:embed",
    "DualEncoder": "pairwright.models.dual:DualEncoder",
    "Features": "pairwright.core.features:Features",
    "ClassText": "pairwright.core.features:ClassText",
    # answers
    "classify": "pairwright.quick:classify",
    "FolderIndex": "pairwright.search.folder:FolderIndex",
    # a classifier of one's own
    "adapt": "pairwright.recipes.adapt.run:adapt",
    "save_bundle": "pairwright.serve.write:save_bundle",
    "load_bundle": "pairwright.serve.bundle:load_bundle",
    # knowledge
    "find": "pairwright.core.find:find",
    "entries": "pairwright.core.index:entries",
    # data
    "packs": "pairwright.data.packs",
}

__getattr__, __dir__ = lazy(__name__, API)
