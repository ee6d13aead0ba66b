"""Tables as spreadsheets and other tools write them."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from ception.data import sources
from ception.data.sources import TEST, TRAIN, UNSTATED
from ception.errors import InputError
from support.pictures import write_pictures
from support.reporters import Notes


class TestTables:
    def write(self, path: Path, rows: list[list[str]]) -> Path:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        return path

    def test_paths_are_relative_to_the_file(self, tmp_path):
        write_pictures(tmp_path / "pictures", {"a": 2, "b": 1})
        rows = [
            ["label", "path", "split"],
            ["cat", "pictures/a/000.png", "train"],
            ["dog", "pictures/b/000.png", "test"],
            ["cat", "pictures/a/001.png", ""],
        ]
        dataset = sources.load(self.write(tmp_path / "list.csv", rows))
        assert dataset.class_names == ("cat", "dog")
        assert dataset.stated_splits.tolist() == [TRAIN, TEST, UNSTATED]
        assert dataset.pictures.open(0).size == (24, 20)

    def test_further_columns_are_kept_and_repeated_rows_left_out(self, tmp_path):
        write_pictures(tmp_path, {"a": 2})
        rows = [
            ["path", "camera", "label", "note"],
            ["a/000.png", "old", "x", "1"], ["a/001.png", "new", "x"], ["a/000.png", "new", "x", "2"],
            ["a/000.png", "new", "y", "3"],
        ]  # fmt: skip
        dataset = sources.load(self.write(tmp_path / "list.csv", rows))
        assert dataset.labels.tolist() == [0, 0, 1]
        assert dataset.columns == {"camera": ["old", "new", "new"], "note": ["1", "", "3"]}
        assert dataset.ignored == {"repeated rows": 1}

    @pytest.mark.parametrize(
        ("rows", "says"),
        [
            ([["path", "kind"], ["a", "b"]], "no column label: .* its columns are path, kind"),
            ([["path", "label", "label"]], "the columns 'label' and 'label'"),
            ([["image", "file", "label"]], "the columns 'image' and 'file': call the one to be taken path"),
            ([["list.csv", "b", "c"]], "3 columns without names"),
            (
                [["path", "label", "split"], ["list.csv", "b", "train"], ["list.csv", "b", "test"]],
                "list.csv is in two splits, train in line 2 and test in line 3",
            ),
            ([["path", "label"], ["none.png", "b"]], "line 2: there is no file"),
            ([["path", "label"], ["", "b"]], "line 2: path and label"),
            ([["path", "label", "split"], ["list.csv", "b", "trian"]], "did you mean 'train'"),
            ([["path", "label"]], "names no pictures"),
            ([], "is empty"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_line(self, tmp_path, rows, says):
        with pytest.raises(InputError, match=says):
            sources.load(self.write(tmp_path / "list.csv", rows))

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("path;label\n{0};x\n{1};y\n", []),
            ("path\tlabel\n{0}\tx\n{1}\ty\n", []),
            ("Path, Label\n{0} , x \n {1}, y\n", []),
            (",path,label\n0,{0},x\n1,{1},y\n", []),
            ("filename,class\n{0},x\n{1},y\n", ["'filename' is the path, 'class' is the label"]),
            ("{0},x\n{1},y\n", ["no names of columns; they are taken for path, label"]),
            ("path,label\na\\000.png,x\na\\001.png,y\n", ["backslashes in paths are taken for slashes (2 pictures)"]),
            ("path,label\na/000,x\na/001,y\n", ["the suffix that the paths leave out is that of the files there (2 "]),
            ("path,label\nA/000.PNG,x\na/001.PNG,y\n", []),
        ],
    )
    def test_other_spellings_are_read_and_said(self, tmp_path, text, says):
        write_pictures(tmp_path, {"a": 2})
        if "PNG" in text:
            text = text.replace("A/", "a/")
            says = ["names of files are found in other letters, large or small (2 pictures)"]
        (tmp_path / "list.csv").write_text(text.format("a/000.png", "a/001.png"))
        notes = Notes()
        dataset = sources.load(tmp_path / "list.csv", reporter=notes)
        assert (dataset.class_names, dataset.labels.tolist()) == (("x", "y"), [0, 1])
        assert [Path(path).name for path in dataset.pictures.paths] == ["000.png", "001.png"]
        assert len(notes.lines) == len(says)
        assert all(expected in line for expected, line in zip(says, notes.lines, strict=True))

    def test_a_column_for_each_class(self, tmp_path):
        write_pictures(tmp_path, {"a": 3})
        rows = [["filename", "cat", "camera", "dog", "split", "bird"],
                ["a/000.png", "0", "1", "1", "train", "0"], ["a/001.png", "1.0", "2", "0.0", "test", "0"],
                ["a/002.png", " 0", "1", "0", "", "1 "]]  # fmt: skip
        notes = Notes()
        dataset = sources.load(self.write(tmp_path / "list.csv", rows), reporter=notes)
        assert dataset.class_names == ("bird", "cat", "dog")
        assert dataset.labels.tolist() == [2, 1, 0]
        assert dataset.stated_splits.tolist() == [TRAIN, TEST, UNSTATED]
        assert dataset.columns == {"camera": ["1", "2", "1"]}
        assert "list.csv: 3 columns of 0 and 1 taken for classes: cat, dog, bird" in notes.lines

    def test_with_a_label_columns_of_0_and_1_are_none_of_its_business(self, tmp_path):
        write_pictures(tmp_path, {"a": 2})
        rows = [["path", "label", "old", "blue"], ["a/000.png", "x", "0", "0"], ["a/001.png", "y", "1", "1"]]
        dataset = sources.load(self.write(tmp_path / "list.csv", rows))
        assert dataset.class_names == ("x", "y")
        assert dataset.columns == {"old": ["0", "1"], "blue": ["0", "1"]}

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            (["0", "0"], r"line 3: 1 in none of the columns of the classes \(cat, dog\): a picture has one class"),
            (["1", "1"], r"line 3: 1 in cat and dog \(cat, dog\): a picture has one class"),
            (["1", "2"], "no column label: .* its columns are path, cat, dog"),
            (["1"], "no column label"),
        ],
    )
    def test_a_line_of_no_or_several_classes_is_named(self, tmp_path, line, says):
        write_pictures(tmp_path, {"a": 2})
        rows = [["path", "cat", "dog"], ["a/000.png", "0", "1"], ["a/001.png", *line]]
        with pytest.raises(InputError, match=says):
            sources.load(self.write(tmp_path / "list.csv", rows))

    @pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16"])
    def test_codings_with_a_mark(self, tmp_path, coding):
        write_pictures(tmp_path, {"a": 1})
        (tmp_path / "list.csv").write_bytes("path,label\na/000.png,größer\n".encode(coding))
        assert sources.load(tmp_path / "list.csv").class_names == ("größer",)

    def test_another_coding_says_how_to_save_it(self, tmp_path):
        (tmp_path / "list.csv").write_bytes("path,label\na/000.png,größer\n".encode("latin-1"))
        with pytest.raises(InputError, match="save it as 'CSV UTF-8'"):
            sources.load(tmp_path / "list.csv")

    def test_a_file_in_two_suffixes_is_not_guessed(self, tmp_path):
        write_pictures(tmp_path, {"a": 1})
        (tmp_path / "a" / "000.jpg").write_bytes(b"x")
        with pytest.raises(InputError, match="there is no file"):
            sources.load(self.write(tmp_path / "list.csv", [["path", "label"], ["a/000", "x"]]))

    @pytest.mark.parametrize(
        ("labels", "names", "says"),
        [
            (["0", "1.0", "0.0"], ("0", "1"), "labels are whole numbers: '1.0' is taken for '1'"),
            (["1", "01", "2"], ("01", "1", "2"), "warning: .*'1' and '01' are the same number but two classes"),
            (["x", "NaN", "y"], ("NaN", "x", "y"), "warning: .*1 of 3 pictures have the label 'NaN'"),
            (["x", "1.0", "1"], ("1", "1.0", "x"), None),
        ],
    )
    def test_doubtful_labels(self, tmp_path, labels, names, says):
        write_pictures(tmp_path, {"a": 3})
        rows = [["path", "label"], *([f"a/00{number}.png", label] for number, label in enumerate(labels))]
        notes = Notes()
        dataset = sources.load(self.write(tmp_path / "list.csv", rows), reporter=notes)
        assert set(dataset.class_names) == set(names)
        assert len(notes.lines) == bool(says)
        assert says is None or re.search(says, notes.lines[0])
