"""Descriptions from three kinds of file and from a writer."""

from __future__ import annotations

import json

import pytest

from pairwright.data.text.descriptions import descriptions, read_descriptions, sentences, write_descriptions

TABLE = {"cat": ["whiskers", "a tail"], "red dog": ["four legs"]}


def test_the_three_formats_hold_the_same(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(TABLE))
    (tmp_path / "b.jsonl").write_text(
        '{"class": "cat", "text": "whiskers"}\n\n{"name": "red dog", "texts": ["four legs"]}\n{"class": "cat", "text": " a tail "}\n'
        '{"class": "cat", "text": "whiskers"}\n'
    )
    (tmp_path / "c.tsv").write_text("# class and sentence\ncat\twhiskers\nred dog\tfour legs\n\ncat\ta tail\n")
    write_descriptions(tmp_path / "d.json", TABLE)
    for name in ("a.json", "b.jsonl", "c.tsv", "d.json"):
        assert read_descriptions(tmp_path / name) == TABLE
    assert list(descriptions(tmp_path / "c.tsv", ["red dog", "cat"])) == ["red dog", "cat"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[1]", "one object"),
        ("a.json", '{"cat": 3}', "'cat' must be a string or a list"),
        ("a.json", '{"cat": ["x", 3]}', "list of strings"),
        ("a.json", "{", "not valid JSON"),
        ("a.jsonl", '{"class": "a", "text": "b"}\n{', "line 2"),
        ("a.jsonl", '{"text": "b"}', "line 1: no class name"),
        ("a.jsonl", "3", "line 1: must be an object"),
        ("a.tsv", "cat\tx\ty", "got 3 columns"),
        ("a.tsv", "\n", "holds no descriptions"),
        ("a.csv", "cat,x", "name it .json, .jsonl or .tsv"),
    ],
)
def test_bad_files_are_refused_with_the_place(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_descriptions(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"\.tsv"):
        read_descriptions(tmp_path / "none.tsv")


def test_a_writer_is_asked_once_for_each_class_and_question():
    asked = []

    def writer(requests):
        asked.append(list(requests))
        return [f"- {r} one\n2. {r} two" for r in requests]

    found = descriptions(writer, ["cat", "dog"], request=["look of {}?", "colour of {}?"], most=3)
    assert asked == [["look of cat?", "colour of cat?", "look of dog?", "colour of dog?"]]
    assert found["dog"] == ["look of dog? one", "look of dog? two", "colour of dog? one"]


def test_what_a_writer_may_not_do():
    with pytest.raises(ValueError, match="gave 1 answers"):
        descriptions(lambda requests: ["x"], ["cat", "dog"])
    with pytest.raises(ValueError, match="no description of 'dog'"):
        descriptions(lambda requests: ["x", " \n"], ["cat", "dog"])
    with pytest.raises(ValueError, match=r"write \{\} for the name"):
        descriptions(lambda requests: ["x"], ["cat"], request="describe it")
    with pytest.raises(ValueError, match="no class names"):
        descriptions(TABLE, [])


def test_lines_lose_bullets_and_numbers_but_not_figures():
    assert sentences('1) "a beak"\n  * 2 wings\n• tail\n\n(3) 10 feathers\n4 legs') == [
        "a beak",
        "2 wings",
        "tail",
        "10 feathers",
        "4 legs",
    ]
