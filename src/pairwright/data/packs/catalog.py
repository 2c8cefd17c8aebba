"""The packs: which archive each one is made of, its checksum, licence, whether its pictures may be shown, and its part in training sprout.

A pack is built from one pinned archive of a public package registry or of the Debian archive. Licences of the archives apply to what is
built from them: `attribution` is the line to print beside pictures or models, and `show` says whether documentation and web pages may
show the pictures (``False`` means: use them to train or to test, do not publish them). Shown freely: openclipart (public domain) and the
MIT, ISC and Apache-2.0 sets; with their attribution: twemoji, emoji-twitter and fa6-solid (CC BY 4.0), and the Tux Paint stamps (GPL-2:
the licence goes with the pictures); not at all: Apple's emoji (not licensed for that).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["train", "val", "test", "text", "suite"]


@dataclass(frozen=True)
class Pack:
    """One row of the table.

    name: what users type. source: which client fetches it. package, version: pinned. sha256: of the archive. reader: the function in
    `readers` that reads it. needs: packs that have to be built first. show: may its pictures be published? role: ``train`` (its training
    split), ``val`` or ``test`` (held out as a whole), ``text`` (no pictures), ``suite`` (a benchmark with a split of its own).
    """

    name: str
    source: Literal["npm", "apt"]
    package: str
    version: str
    sha256: str
    reader: str
    licence: str
    attribution: str
    show: bool
    role: Role
    needs: tuple[str, ...] = ()


def _icons(name: str, version: str, sha256: str, licence: str, by: str, *, role: Role = "train", reader: str = "icons") -> Pack:
    needs = ("emojibase",) if reader == "icon_emoji" else ()
    return Pack(name, "npm", f"@iconify-json/{name}", version, sha256, reader, licence, by, True, role, needs)


def _emoji(vendor: str, sha256: str, licence: str, by: str, *, show: bool, role: Role) -> Pack:
    return Pack(f"emoji-{vendor}", "npm", f"emoji-datasource-{vendor}", "16.0.0", sha256, "emoji", licence, by, show, role, ("emojibase",))


_NOTO = "Noto Emoji, Google LLC, Apache License 2.0"
_TWEMOJI = "Twemoji, Twitter Inc and other contributors, CC BY 4.0 (creativecommons.org/licenses/by/4.0)"

_ROWS = (
    Pack("emojibase", "npm", "emojibase-data", "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a", "emojibase",
         "MIT; names and keywords: Unicode-3.0", "emojibase, Miles Johnson, MIT; annotations: Unicode CLDR, Unicode License v3",
         True, "text"),
    Pack("wordnet", "apt", "wordnet-base", "1:3.0-37", "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752", "wordnet",
         "WordNet-3.0", "WordNet 3.0, Copyright 2006 by Princeton University. All rights reserved.", True, "text"),
    _emoji("google", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438", "Apache-2.0", _NOTO, show=True, role="train"),
    _emoji("twitter", "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877", "CC-BY-4.0", _TWEMOJI, show=True, role="train"),
    _emoji("apple", "b34d1665e136f163b0d4433318df151895b785186e8c729b2211b43017945075", "proprietary (no commercial use)",
           "Apple Color Emoji, Copyright Apple Inc.", show=False, role="test"),
    _icons("noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad", "Apache-2.0", _NOTO, reader="icon_emoji"),
    _icons("twemoji", "1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7", "CC-BY-4.0", _TWEMOJI,
           reader="icon_emoji"),
    _icons("fxemoji", "1.2.2", "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef", "Apache-2.0",
           "Firefox OS Emoji, Mozilla, Apache License 2.0", role="val", reader="icon_emoji"),
    Pack("openclipart", "apt", "openclipart-svg", "1:0.18+dfsg-19", "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
         "openclipart", "public domain (Creative Commons dedication)", "Open Clip Art Library 0.18 and its authors, public domain",
         True, "train", ("wordnet",)),
    # GPL-2 covers the collection as a whole, so its pictures stay out of our own pages
    Pack("stamps", "apt", "tuxpaint-stamps-default", "2022.06.04-1", "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
         "stamps", "GPL-2.0", "Tux Paint Stamps, 2002-2022 Bill Kendrick and contributors, GPL-2", True, "train"),
    _icons("mdi", "1.2.3", "ddd817a7213f91de51147943915c0cda8c8b818a53c92b5c068cfa9883c6d7ac", "Apache-2.0",
           "Material Design Icons, Pictogrammers, Apache License 2.0"),
    _icons("tabler", "1.2.41", "3bf99af156d28d05568aff524a35ed1ba238df640a7835a5e02e1f8e439685f6", "MIT", "Tabler Icons, Pawel Kuna, MIT"),
    _icons("material-symbols", "1.2.98", "142d50bf28e7db85362795be335ebc29dac611d73c404fc1e6fc5cc198e2b3d0", "Apache-2.0",
           "Material Symbols, Google LLC, Apache License 2.0"),
    _icons("fluent", "1.2.60", "9a7cad7adb15288c1fd5e2e1835f1b17f2a8764bb1f31971bffa7c9df1349d6d", "MIT",
           "Fluent UI System Icons, Microsoft Corporation, MIT"),
    _icons("ph", "1.2.2", "e3a582a047d9829fc7e8842c660d8065e598d1b68bb58cb68e75a1f1e5a614cc", "MIT", "Phosphor Icons, MIT"),
    _icons("fa6-solid", "1.2.4", "082c792eaad4751626438773fa7360cb23f495b687cf2dd01b2b0fccc7f6af8b", "CC-BY-4.0",
           "Font Awesome Free 6 (solid), Fonticons Inc., CC BY 4.0"),
    _icons("lucide", "1.2.137", "e74db8c3a55fff55bc82de21268c4bced9f65ff10aacc0d5f3a395b0e93243c3", "ISC", "Lucide Icons, ISC",
           role="test"),
    _icons("flat-color-icons", "1.2.3", "d8878a9b0f02d749bc8671eb7d47882eb711185cbcefbb365cbfb488773c4786", "MIT",
           "Flat Color Icons, Icons8, MIT", role="test"),
    Pack("fashion-mnist", "apt", "dataset-fashion-mnist", "0.0~git20200523.55506a9-1",
         "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0", "fashion_mnist", "MIT",
         "Fashion-MNIST, 2017 Zalando SE, MIT", True, "suite"),
)  # fmt: skip

PACKS: dict[str, Pack] = {p.name: p for p in _ROWS}


def pack(name: str) -> Pack:
    """The catalogue's row of a pack; an unknown name is answered with the known ones."""
    if name not in PACKS:
        raise ValueError(f"there is no pack {name!r}; the packs are {', '.join(PACKS)}")
    return PACKS[name]
