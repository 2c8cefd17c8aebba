from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pairwright.data.images import open_image
from pairwright.data.table import COLUMNS, read_table, skipped_of, table_hash, validate, write_table


@pytest.fixture
def folder(tmp_path, encode):
    """train and val folders of two classes, two images each, captions beside the cats."""
    for split in ("train", "val"):
        for kind in ("cat", "dog"):
            for i in range(2):
                path = tmp_path / "set" / split / kind / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encode(np.full((4, 4, 3), i, np.uint8)))
                if kind == "cat":
                    path.with_suffix(".txt").write_text(f"a cat, {i}\n\n  another cat \n")
    return tmp_path / "set"


def test_image_folder(folder):
    table = read_table(folder)
    assert table["id"].to_pylist() == [f"{s}/{k}/{i}.png" for s in ("train", "val") for k in ("cat", "dog") for i in range(2)]
    assert table["label"].to_pylist() == ["cat", "cat", "dog", "dog"] * 2
    assert table["split"].to_pylist() == ["train"] * 4 + ["val"] * 4
    assert table["captions"].to_pylist()[:3] == [["a cat, 0", "another cat"], ["a cat, 1", "another cat"], []]
    assert all(open_image(p).size == (4, 4) for p in table["path"].to_pylist())
    flat = read_table(folder / "train" / "dog")
    assert flat.column_names == ["id", "path"]
    assert "split" not in read_table(folder / "train").column_names


def test_folder_with_metadata(folder):
    (folder / "metadata.csv").write_text("file_name,text\ntrain/cat/0.png,hello\n")
    table = read_table(folder)
    assert table["captions"].to_pylist() == [["hello"]]
    assert open_image(table["path"][0].as_py()).size == (4, 4)


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_csv_against_pythons_writer(folder, delimiter):
    rows = [
        ("train/cat/0.png", f'says "hi"{delimiter} twice', "1"),
        ("train/cat/1.png", "two\nlines", "2"),
        ("train/dog/0.png", "ünï 犬", "3"),
    ]
    with (folder / "t.csv").open("w", newline="", encoding="utf-8-sig") as f:
        writer = csv.writer(f, delimiter=delimiter)
        writer.writerows([("filepath", "title", "stars"), *rows])
    table = read_table(folder / "t.csv")
    assert table["captions"].to_pylist() == [[r[1]] for r in rows]
    assert table["id"].to_pylist() == [r[0] for r in rows]
    assert table["stars"].to_pylist() == ["1", "2", "3"]
    assert open_image(table["path"][2].as_py()).size == (4, 4)


@pytest.mark.parametrize("image", ["filepath", "path", "image", "IMAGE", "file_name"])
@pytest.mark.parametrize("caption", ["title", "caption", "text", "TEXT", "captions"])
def test_usual_column_names_are_known(folder, image, caption):
    (folder / "t.csv").write_text(f"{caption},{image}\nwords,train/cat/0.png\n")
    table = read_table(folder / "t.csv")
    assert table.column_names == ["id", "path", "captions"]
    assert table["captions"].to_pylist() == [["words"]]


def test_columns_by_name_and_several_captions(folder):
    (folder / "t.csv").write_text('pic,long,tags,no\ntrain/cat/0.png,a long text,"[""x"", ""y""]",7\ntrain/cat/1.png,,z,8\n')
    table = read_table(folder / "t.csv", image="pic", caption=["long", "tags"], id="no")
    assert table["captions"].to_pylist() == [["a long text", "x", "y"], ["z"]]
    assert table["id"].to_pylist() == ["7", "8"]
    with pytest.raises(ValueError, match="no column 'foto'"):
        read_table(folder / "t.csv", image="foto")
    with pytest.raises(ValueError, match=r"no image column.*image="):
        read_table(folder / "t.csv")


def test_one_row_for_each_caption_becomes_one_row_for_each_image(folder):
    (folder / "t.csv").write_text("path,caption,lang\ntrain/cat/0.png,a,en\ntrain/cat/1.png,b,en\ntrain/cat/0.png,c,de\n")
    table = read_table(folder / "t.csv")
    assert table["captions"].to_pylist() == [["a", "c"], ["b"]]
    assert table["lang"].to_pylist() == [["en", "de"], ["en"]]


def test_bad_csv_rows_are_listed_and_bad_files_told(folder):
    (folder / "t.csv").write_text(f"path,caption\ntrain/cat/0.png,a\nonly one\ntrain/cat/1.png,{'x' * 10_000}\n1,2,3\n")
    table = read_table(folder / "t.csv")
    assert table.num_rows == 2
    assert skipped_of(table) == {"t.csv: row 3": "1 cells under 2 column names", "t.csv: row 5": "3 cells under 2 column names"}
    (remark,) = validate(table)
    assert "10,000" in remark.what
    assert remark.ids == ("train/cat/1.png",)
    assert len(table["captions"][1].as_py()[0]) == 10_000
    with pytest.raises(ValueError, match="row 3"):
        read_table(folder / "t.csv", strict=True)
    (folder / "u.csv").write_bytes("path,caption\nx.png,caf\xe9\n".encode("latin-1"))
    with pytest.raises(ValueError, match="encoding="):
        read_table(folder / "u.csv")
    assert read_table(folder / "u.csv", encoding="latin-1")["captions"].to_pylist() == [["café"]]
    (folder / "v.csv").touch()
    with pytest.raises(ValueError, match="not a readable table"):
        read_table(folder / "v.csv")
    (folder / "w.csv").write_text("path,path\na,b\n")
    with pytest.raises(ValueError, match="each once"):
        read_table(folder / "w.csv")


def test_jsonl(folder):
    lines = [
        {
            "image": "train/cat/0.png",
            "captions": ["a", "b"],
            "boxes": [{"x0": 0, "y0": 1, "x1": 2, "y1": 3, "label": "ear"}],
            "extra": {"k": 1},
        },
        {"image": "train/cat/1.png", "captions": "one", "boxes": [[0, 0, 1, 1]], "extra": {"k": 2}},
    ]
    bad = ["not json", "[1, 2]", "[" * 100_000]
    (folder / "t.jsonl").write_text("\n".join([json.dumps(lines[0]), *bad, "", json.dumps(lines[1])]))
    table = read_table(folder / "t.jsonl")
    assert table["captions"].to_pylist() == [["a", "b"], ["one"]]
    assert table["boxes"].to_pylist()[1] == [{"x0": 0.0, "y0": 0.0, "x1": 1.0, "y1": 1.0, "label": None}]
    assert table["extra"].to_pylist() == [{"k": 1}, {"k": 2}]
    assert list(skipped_of(table)) == ["t.jsonl:2", "t.jsonl:3", "t.jsonl:4"]
    with pytest.raises(ValueError, match=r"t\.jsonl:2"):
        read_table(folder / "t.jsonl", strict=True)


def test_parquet_of_img2dataset_and_of_hugging_face(tmp_path, encode):
    data = encode(np.zeros((4, 4, 3), np.uint8))
    raw = {
        "key": ["0", "1"],
        "status": ["success", "failed_to_download"],
        "jpg": pa.array([data, None], pa.binary()),
        "caption": ["a", "b"],
    }
    pq.write_table(pa.table({**raw, "url": ["u", "v"]}), tmp_path / "00000.parquet")
    table = read_table(tmp_path)
    assert table.select(["id", "captions", "url"]).to_pylist() == [{"id": "0", "captions": ["a"], "url": "u"}]
    assert table["image"].to_pylist() == [data]
    assert skipped_of(table) == {"1": "download: failed_to_download"}
    pq.write_table(pa.table({"image": [{"bytes": data, "path": "x.png"}], "text": ["t"]}), tmp_path / "hf.parquet")
    table = read_table(tmp_path / "hf.parquet")
    assert table["image"].to_pylist() == [data]
    assert table["captions"].to_pylist() == [["t"]]
    (tmp_path / "00001.parquet").write_bytes(b"PAR1 broken PAR1")
    assert str(tmp_path / "00001.parquet") in skipped_of(read_table(tmp_path))
    with pytest.raises(ValueError, match="not a readable parquet"):
        read_table(tmp_path / "00001.parquet")
    pq.write_table(pa.table({"url": ["u"], "caption": ["c"]}), tmp_path / "urls.parquet")
    with pytest.raises(ValueError, match="downloaded first"):
        read_table(tmp_path / "urls.parquet")


@pytest.fixture
def dataset(tmp_path):
    datasets = pytest.importorskip("datasets")
    pictures = [Image.new("RGB", (5, 4), (i, 0, 0)) for i in range(4)]
    features = datasets.Features(
        {"img": datasets.Image(), "text": datasets.Value("string"), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {"img": pictures, "text": [f"t{i}" for i in range(4)], "label": [0, 1, 1, 0]}
    return datasets.Dataset.from_dict(rows, features=features)


def check_dataset(table, order):
    assert table["label"].to_pylist() == [["cat", "dog", "dog", "cat"][i] for i in order]
    assert table["captions"].to_pylist() == [[f"t{i}"] for i in order]
    assert [open_image(b).getpixel((0, 0))[0] for b in table["image"].to_pylist()] == list(order)


def test_hugging_face_objects(dataset):
    check_dataset(read_table(dataset), range(4))
    check_dataset(read_table(dataset.select([2, 0])), [2, 0])
    import datasets

    both = datasets.DatasetDict({"train": dataset, "test": dataset.select([3])})
    check_dataset(read_table(both, split="test"), [3])
    with pytest.raises(ValueError, match="train, test"):
        read_table(both)
    with pytest.raises(ValueError, match="streaming"):
        read_table(dataset.to_iterable_dataset())


def test_hugging_face_folders_are_read_without_the_library(dataset, tmp_path, monkeypatch):
    import datasets

    dataset.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": dataset, "test": dataset.select([3, 1])}).save_to_disk(tmp_path / "two")
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    check_dataset(read_table(tmp_path / "one"), range(4))
    check_dataset(read_table(tmp_path / "two", split="test"), [3, 1])


def test_lists(folder, encode):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 4), np.uint8))
    table = read_table(
        [str(folder / "train/cat/0.png"), encode(picture), picture, np.asarray(picture)], captions=["a", ["b", "c"], "d", "e"]
    )
    assert table["captions"].to_pylist() == [["a"], ["b", "c"], ["d"], ["e"]]
    for stored in table["image"].to_pylist()[1:]:
        assert np.array_equal(np.asarray(open_image(stored, alpha=True)), np.asarray(picture))
    assert table["path"].to_pylist()[0] == str(folder / "train/cat/0.png")
    with pytest.raises(ValueError, match="2 images but 1 captions"):
        read_table([picture, picture], captions=["a"])
    with pytest.raises(ValueError, match="int is no image"):
        read_table([3])


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl"])
def test_round_trips(folder, suffix):
    table = read_table(folder).append_column("weight", pa.array(np.arange(8) / 4, pa.float32()))
    table = table.append_column("group", pa.array(["g", None] * 4)).append_column(
        "boxes", pa.array([[{"x0": 1.5, "y0": 2, "x1": 3, "y1": 4, "label": "ä"}], None] * 4, COLUMNS["boxes"])
    )
    again = read_table(write_table(table, folder.parent / f"t{suffix}"))
    assert sorted(again.column_names) == sorted(table.column_names)
    assert again.select(table.column_names).to_pylist() == table.to_pylist()
    assert table_hash(again) == table_hash(table)


def test_write_refuses_what_it_cannot_keep(make_pairs, tmp_path):
    with pytest.raises(ValueError, match=r"write \.parquet"):
        write_table(make_pairs(2), tmp_path / "t.csv")
    with pytest.raises(ValueError, match="cannot write"):
        write_table(make_pairs(2), tmp_path / "t.xlsx")
    again = read_table(write_table(make_pairs(3), tmp_path / "t.parquet"))
    assert again.to_pylist() == make_pairs(3).to_pylist()
    assert not list(tmp_path.glob(".*"))


def test_unknown_sources_are_told(tmp_path, make_pairs):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_table(tmp_path / "nope")
    (tmp_path / "t.xyz").touch()
    with pytest.raises(ValueError, match="could be anything"):
        read_table(tmp_path / "t.xyz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no images"):
        read_table(tmp_path / "empty")
    with pytest.raises(ValueError, match="unknown format"):
        read_table(tmp_path, format="xml")
    with pytest.raises(ValueError, match="option does not fit"):
        read_table(make_pairs(2), delimiter=";")
    with pytest.raises(ValueError, match="cannot read pairs from a int"):
        read_table(3)


def test_validate(make_pairs):
    table = make_pairs(4)
    assert validate(table) == ()
    with pytest.raises(ValueError, match=r"1 ids repeat.*row1"):
        validate(pa.concat_tables([table, table.slice(1, 1)]))
    with pytest.raises(ValueError, match="no id"):
        validate(table.set_column(0, "id", pa.array(["a", None, "b", "c"])))
    with pytest.raises(ValueError, match="'image' or 'path'"):
        validate(table.drop_columns(["image"]))
    with pytest.raises(ValueError, match=r"weights.*'row2'"):
        validate(table.append_column("weight", pa.array([1, 0, -1, 2], pa.float32())))
    with pytest.raises(ValueError, match="type int64"):
        validate(table.append_column("label", pa.array([1, 2, 3, 4])))
    with pytest.raises(ValueError, match="2 captions but 1 languages"):
        validate(table.append_column("lang", pa.array([["en"]] * 4)))
    box = {"x0": 5, "y0": 0, "x1": 1, "y1": 1, "label": ""}
    odd = table.set_column(2, "captions", pa.array([["a"], [], None, [" ", None]])).append_column(
        "boxes", pa.array([None, [box], [], None], COLUMNS["boxes"])
    )
    assert [(r.what, r.rows, r.ids) for r in validate(odd)] == [
        ("no caption", 3, ("row1", "row2", "row3")),
        ("boxes without area", 1, ("row1",)),
    ]


def test_hash_is_of_values_not_of_storage(make_pairs):
    table = make_pairs(9, group=["x", None, "y"] * 3, weight=pa.array(range(9), pa.float32()))
    whole = table_hash(table)
    assert table_hash(pa.concat_tables([table.slice(0, 4), table.slice(4)])) == whole
    assert table_hash(pa.concat_tables([table, table]).slice(9)) == whole
    assert table_hash(table.select(table.column_names[::-1])) == whole
    assert table_hash(table.set_column(3, "group", table["group"].dictionary_encode())) == whole
    assert table_hash(table.set_column(1, "image", table["image"].cast(pa.binary()))) == whole
    captions = table["captions"].to_pylist()
    others = [
        table.take([1, 0, *range(2, 9)]),
        table.slice(1),
        table.rename_columns(["id", "image", "captions", "groups", "weight"]),
        table.set_column(3, "group", pa.array(["x", "", "y"] * 3)),
        table.set_column(2, "captions", pa.array([[captions[0][0] + captions[0][1]], *captions[1:]])),
        table.set_column(2, "captions", pa.array([[captions[0][0][:-1], captions[0][0][-1:] + captions[0][1]], *captions[1:]])),
    ]
    assert len({whole, *map(table_hash, others)}) == 7
