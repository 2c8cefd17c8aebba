"""Real titles, files and tags of the Open Clip Art Library, and the names that they deserve."""

from __future__ import annotations

import pytest

from pairwright.data.packs.captions import Meta, choose, clean_stem, clean_tags, clean_title, split_known, title_fault
from pairwright.data.packs.names import code_points, normal, words_of

ENGLISH = {
    "folder", "open", "gradient", "blue", "cloud", "lightning", "milk", "carton", "contour", "cheetah", "old", "truck", "dolphin",
    "bored", "dog", "bird", "moon", "head", "jigsaw", "red", "printer", "down", "arrow", "edit", "trash", "view", "mail", "forward",
}  # fmt: skip


def known(word: str) -> bool:
    return normal(word) in ENGLISH


def name_of(stem, title="", tags=(), author="", about="", shared=lambda t: False):
    return choose(Meta(stem, title, about, tuple(tags), author), shared=shared, known=known, common=known)


@pytest.mark.parametrize(
    ("stem", "title", "tags", "author", "name", "rule"),
    [
        ("bored_dog_01", "Bored dog", ["mammal", "", "dog"], "Jose Hevia", "Bored dog", ""),
        ("dolphin_01", "Dolphin", [], "Jose Hevia", "Dolphin", ""),
        ("old_truck_indana_model__01", "Old_truck_Indana_model_111-X", [], "Mo", "Old truck Indana model 111 X", ""),
        ("folder_cyan_open", "Part of the Flat Icon Collection (Wed Aug 25 23:31:12 2004)", ["hash", "icons"], "Danny Allen",
         "folder cyan open", "name of a collection: file name"),
        ("edittrash", "Lemon SVG theme", ["lemon_theme_icon", "hash"], "Jose Hevia", "edit trash", "name of a collection: file name"),
        ("contour_cheetah", "Clipart by Nicu Buculei - contour_chipmunk", ["mammal"], "Nicu Buculei",
         "contour cheetah", "author's prefix on a copied title: file name"),
        ("gradient-blue", "SVG Gradient Collection by Alan Horkan, 2004.", ["special", "gradients"], "Alan Horkan",
         "gradient blue", "name of a collection: file name"),
        ("aiga_down_arrow_", "AIGA_Symbol_Signs", ["symbol", "mapsym"], "J.-V. Balin", "down arrow", "name of a collection: file name"),
        ("cigno_architetto_frances_01", "Cigno", ["bird"], "Architetto Francesco Rollandin", "bird", "no English word in it: tag"),
        ("milk_carton_jarno_vasama_", "HASH(0x8a4d510)", [], "Jarno Vasamaa", "milk carton", "a hash: file name"),
        ("printer_ganson", "jean.victor.balin@gmail.com", [], "", "printer", "an address: file name"),
        ("moon_crescent2", "", [], "", "moon crescent", "nothing said: file name"),
        ("head14", "unknown", ["people"], "", "head", "nothing said: file name"),
        ("kxyz", "Lemon SVG theme", ["hash", "hash(0x8a39378)"], "", "kxyz", "name of a collection: kept"),
    ],
)  # fmt: skip
def test_real_titles(stem, title, tags, author, name, rule):
    choice = name_of(stem, title, tags, author)
    assert (choice.name, choice.rule) == (name, rule)
    assert choice.captions[0] == name


def test_a_title_on_many_different_files_names_a_collection_but_not_on_files_that_agree_with_it():
    def everywhere(text):
        return True

    assert title_fault(Meta("white_cloud", "Bird"), shared=everywhere, known=known) == "one title on many different files"
    assert title_fault(Meta("lightning_jon_phillips_07", "Lightning", author="Jon Phillips"), shared=everywhere, known=known) == ""


def test_a_foreign_title_stays_a_caption_beside_the_tag():
    assert name_of("cigno_architetto_01", "Cigno", ["bird"], "Architetto Francesco Rollandin").captions == ("bird", "Cigno", "bird")


@pytest.mark.parametrize(
    ("about", "kept"), [("A small bird.", True), ("write to a@b.com", False), ("HASH(0x8a3)", False), ("Jon Doe", False)]
)
def test_descriptions_are_kept_unless_they_say_nothing(about, kept):
    assert (about in name_of("bird_01", "Bird", about=about, author="Jon Doe").captions) is kept


@pytest.mark.parametrize(
    ("stem", "author", "clean"),
    [("acquila_architetto_franc_03", "Architetto Francesco Rollandin", "acquila"), ("crawfish1_bw_ganson", "Gerald G.", "crawfish"),
     ("folder_tar", "", "folder tar"), ("computer", "", "computer"), ("lightning_jon_phillips_07", "Jon Phillips", "lightning"),
     ("people_juliane_krug_07b", "Juliane Krug", "people"), ("lemon_simple", "", "lemon simple"), ("x1", "", "x1")],
)  # fmt: skip
def test_stems_lose_author_and_numbering(stem, author, clean):
    assert clean_stem(stem, author) == clean


def test_titles_lose_remarks_and_numbers():
    assert clean_title("Crawfish (B and W)") == "Crawfish"
    assert clean_title("tree - RPG map elements") == "tree"
    assert clean_title("glace_01") == "glace"
    assert clean_title("Hotel Icon In Room Phone") == "In Room Phone"


def test_tags_lose_hashes_authors_and_theme_words():
    tags = (
        "",
        "hash",
        "hash(0x8a39378)",
        "lemon_theme_icon",
        "architetto francesco rollandin",
        "bird",
        "Birds",
        "united_nations",
        "11",
    )
    assert clean_tags(tags, "Architetto Francesco Rollandin") == ("bird", "united nations")


def test_words_run_together_fall_apart_only_into_english():
    assert split_known("mailforward", known, known) == "mail forward"
    assert split_known("kview", known, known) == "view"
    assert split_known("inkscape", lambda w: True, lambda w: True) == "inkscape"
    assert split_known("marroni mailforward", known, known) == "marroni mailforward"


def test_names_agree_on_what_is_the_same_concept():
    assert normal("The Café_Tables 02") == normal("cafe table") == "cafe table"
    assert normal("Glass") == "glass"
    assert normal("bus") == "bus"
    assert normal("!!!") == ""
    assert words_of("closedBox_01") == "closed Box 01"
    assert code_points("0023-fe0f-20e3") == code_points("23-20E3") == "23-20E3"
