from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ception
from ception.checking import scan as scanning
from ception.data import sources
from ception.errors import InputError
from ception.files import mark
from ception.reporting import Reporter
from support.findings import findings_of, paths, scene
from support.pictures import content, write_pictures


class TestPictures:
    def test_nothing_is_wrong_with_good_data(self, data):
        before = content(data)
        result = ception.check(data, model="separable_cnn")
        assert [one.kind for one in result.findings] == ["few_scored"]  # 30 pictures are few
        assert (result.ok, result.pictures) == (True, 30)
        assert result.classes == {"cat": 15, "dog": 15}
        assert sum(result.split.values()) == 30
        assert content(data) == before

    def test_what_single_pictures_are_like(self, data):
        cat = data / "cat"
        exif = Image.Exif()
        exif[0x0112] = 6
        scene(1000).save(cat / "exif.jpg", exif=exif)
        scene(1001).convert("RGBA").save(cat / "alpha.png")
        scene(1002).convert("CMYK").save(cat / "cmyk.jpg")
        wide = np.random.default_rng(3).integers(0, 65536, (90, 120)).astype(np.uint16)
        Image.fromarray(wide).save(cat / "deep.png")
        scene(1003).save(cat / "moving.gif", save_all=True, append_images=[scene(1004), scene(1005)])
        scene(1006).save(cat / "png.jpg", "PNG")
        scene(1007, (20, 12)).save(cat / "small.png")
        findings = findings_of(data)
        expected = {
            "rotated": "exif.jpg", "alpha": "alpha.png", "cmyk": "cmyk.jpg", "deep": "deep.png",
            "animated": "moving.gif", "misnamed": "png.jpg", "small": "small.png",
        }  # fmt: skip
        assert {kind: paths(finding) for kind, finding in findings.items()} == {
            kind: [[name]] for kind, name in expected.items()
        }
        assert {finding.severity for finding in findings.values()} == {"note"}
        assert "20 x 12" in findings["small"].items[0].note
        assert ception.check(data).ok

    def test_colour_of_16_bits_counts_although_pillow_reads_8(self, data):
        import struct
        import zlib

        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        rows = np.random.default_rng(0).integers(0, 256, (90, 1 + 120 * 6), np.uint8)
        rows[:, 0] = 0
        header = struct.pack(">IIBBBBB", 120, 90, 16, 2, 0, 0, 0)
        png = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
        (data / "cat" / "rgb16.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
        assert paths(findings_of(data)["deep"]) == [["rgb16.png"]]

    def test_a_turned_picture_has_the_size_it_is_seen_with(self, data):
        exif = Image.Exif()
        exif[0x0112] = 8
        scene(5, (64, 128)).save(data / "cat" / "turned.jpg", exif=exif)
        dataset = sources.load(data)
        facts, _ = scanning.scan(dataset.pictures, str(data), cache_limit=1, reporter=Reporter())
        row = facts[[Path(name).name for name in dataset.pictures.paths].index("turned.jpg")]
        assert (row["width"], row["height"], row["orientation"]) == (128, 64, 8)
        assert scanning.preview(dataset.pictures, 0, 64).size == dataset.pictures.open(0).size

    def test_what_cannot_be_read(self, data):
        whole = (data / "cat" / "00.jpg").read_bytes()
        (data / "cat" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
        (data / "cat" / "empty.png").touch()
        (data / "cat" / "text.png").write_text("no picture")
        (data / "cat" / "link.png").symlink_to("nowhere")
        Image.fromarray(np.random.default_rng(0).random((90, 120), np.float32)).save(data / "cat" / "real.tif")
        result = ception.check(data, model="separable_cnn")
        finding = result.findings[0]
        said = {Path(item.pictures[0].path).name: item.note for item in finding.items}
        assert (finding.kind, finding.severity, result.ok) == ("unreadable", "error", False)
        assert "truncated" in said["cut.jpg"]
        assert said["empty.png"] == "the file is empty"
        assert "not a picture" in said["text.png"]
        assert said["link.png"] == "a link that leads nowhere"
        assert "floating-point" in said["real.tif"]

    @pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
    def test_a_cut_jpeg_is_noticed_although_it_is_decoded_small(self, data, share):
        scene(7, (800, 600)).save(data / "cat" / "cut.jpg")
        whole = (data / "cat" / "cut.jpg").read_bytes()
        (data / "cat" / "cut.jpg").write_bytes(whole[: int(len(whole) * share)])
        assert paths(findings_of(data)["unreadable"]) == [["cut.jpg"]]

    @pytest.mark.skipif(sys.platform == "win32" or os.getuid() == 0, reason="root may read every file")
    def test_permission_denied(self, data):
        (data / "cat" / "00.jpg").chmod(0)
        assert "Permission denied" in findings_of(data)["unreadable"].items[0].note


class TestClasses:
    def test_pictures_of_each_class_and_split(self, data, run_cli):
        scene(77).save(data / "dog" / "more.jpg")
        code, out, _ = run_cli("check", "data", "--model", "separable_cnn")
        result = ception.check(data, model="separable_cnn")
        assert code == 0
        assert result.as_dict()["class_splits"] == result.class_splits
        assert {name: sum(of.values()) for name, of in result.class_splits.items()} == {"cat": 15, "dog": 16}
        for split in ("train", "val", "test"):
            assert sum(of[split] for of in result.class_splits.values()) == result.split[split]
        page = (data.parent / "check-data.html").read_text()
        for name, of in result.class_splits.items():
            row = [name, result.classes[name], of["train"], of["val"], of["test"]]
            assert list(map(str, row)) in [line.split() for line in out.splitlines()]
            assert "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" in page
        assert "class  pictures  training  validation  test" in out

    def test_without_a_split_the_pictures_alone(self, data, run_cli):
        (data / "bird").mkdir()
        scene(500).save(data / "bird" / "0.png")
        assert ception.check(data, model="separable_cnn").class_splits is None
        code, out, _ = run_cli("check", "data")
        assert code == 1
        assert ["bird", "1"] in [line.split() for line in out.splitlines()]
        assert "validation" not in out

    def test_of_many_classes_the_smallest(self, tmp_path, monkeypatch, run_cli):
        monkeypatch.chdir(tmp_path)
        write_pictures(tmp_path / "d", {f"c{number:02}": 3 + (number < 3) for number in range(43)})
        out = run_cli("check", "d", "--model", "separable_cnn")[1]
        rows = [line for line in out.splitlines() if line.startswith("c") and line[1:3].isdigit()]
        assert [row.split()[0] for row in rows] == [f"c{number:02}" for number in range(3, 43)]
        assert "... the 40 smallest of 43 classes" in out
        page = (tmp_path / "check-d.html").read_text()
        assert "The 40 smallest of\n43 classes" in page
        assert ("<td>c03</td>" in page, "<td>c02</td>" in page) == (True, False)


class TestFolders:
    def test_what_the_data_set_leaves_out_is_named(self, data):
        (data / "bird").mkdir()
        (data / ".old").mkdir()
        scene(50).save(data / ".old" / "1.jpg")
        (data / ".git").mkdir()
        (data / ".git" / "config").touch()
        (data / "__MACOSX").mkdir()
        (data / "__MACOSX" / "._00.jpg").write_bytes(b"x")
        scene(51).save(data / "top.png")
        scene(52).save(data / "dog" / "photo.JPG_large", "JPEG")
        (data / "dog" / "notes.txt").write_text("nothing")
        mark(data / "runs")
        scene(53).save(data / "runs" / "curve.png")
        findings = findings_of(data)
        notes = {kind: [item.note for item in finding.items] for kind, finding in findings.items()}
        assert notes == {
            "empty_class": [str(data / "bird")],
            "foreign_suffix": [f"{data / 'dog' / 'photo.JPG_large'} is a JPEG"],
            "hidden": [f"{data / '.old'}, pictures: 1", f"{data / '__MACOSX'}, pictures: 0"],
            "outside": [str(data / "top.png")],
        }
        assert findings["empty_class"].severity == "error"

    def test_the_current_folder_and_folders_within_classes(self, data, monkeypatch):
        (data / "cat" / "more").mkdir()
        scene(50).save(data / "cat" / "more" / "1.jpg")
        monkeypatch.chdir(data)
        assert findings_of(".", model="separable_cnn", out=data.parent / "page.html") == {}

    def test_an_empty_class_of_one_part_of_the_split(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_pictures(tmp_path / "d" / "train", {"x": 8, "y": 8})
        write_pictures(tmp_path / "d" / "test", {"x": 3, "y": 0}, seed=1)
        findings = findings_of(tmp_path / "d")
        assert [item.note for item in findings["empty_class"].items] == [str(tmp_path / "d" / "test" / "y")]
        assert [item.note for item in findings["too_few"].items] == ["y has no test picture"]

    def test_classes_that_are_too_small_and_imbalance(self, data):
        for index in range(2):
            (data / "bird").mkdir(exist_ok=True)
            scene(500 + index).save(data / "bird" / f"{index}.png")
        for index in range(15, 21):
            scene(index).save(data / "cat" / f"{index}.png")
        result = ception.check(data, model="separable_cnn")
        findings = {finding.kind: finding for finding in result.findings}
        assert [item.note for item in findings["too_few"].items] == [
            "bird has 2 different pictures, of 3 that it needs"
        ]
        assert [item.note for item in findings["imbalance"].items] == ["bird has 2 pictures beside 21 of cat"]
        assert (result.split, result.ok) == (None, False)

    def test_one_class_is_no_classifier(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert "one class only" in findings_of(write_pictures(tmp_path / "d", {"x": 9}))["too_few"].items[0].note


class TestModel:
    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        from ception import build
        from ception.data.images import ImageContract
        from ception.models import NetworkConfig

        arguments = {"name": "separable_cnn", "classes": 3, "image_size": [100, 100], "channels": 3}
        ception.Classifier(
            network=build(**arguments),
            config=NetworkConfig.of(**arguments),
            class_names=("Cat", "bird", "dog"),
            image=ImageContract(height=100, width=100, channels=3),
        ).save(tmp_path / "run" / "model.keras")
        return tmp_path / "run"

    def test_numbers_as_names_match_as_numbers(self, tmp_path):
        from ception.checking.findings import about_classes

        data = sources.load(write_pictures(tmp_path / "d", dict.fromkeys(["00", "01", "02", "10"], 1)))
        known = [str(number) for number in range(11)]
        found = about_classes(data, known, unnamed=True)
        assert found["unknown_classes"] == []
        assert [item.note for item in found["absent_classes"]] == ["3", "4", "5", "6", "7", "8", "9"]
        assert [item.note for item in about_classes(data, known[:10], unnamed=True)["unknown_classes"]] == ["10"]

    def test_its_classes_and_size(self, data, model, run_cli):
        findings = findings_of(data, model=model)
        assert [item.note for item in findings["unknown_classes"].items] == ["cat; the model calls it Cat"]
        assert [item.note for item in findings["absent_classes"].items] == ["Cat", "bird"]
        assert findings["small"].count == 30
        (data / "cat").rename(data / "Cat")
        code, out, _ = run_cli("check", data, "--model", model / "model.keras")
        assert code == 0
        assert out.splitlines()[-1] == f"Next: ception evaluate {model / 'model.keras'} {data}"

    def test_a_network_or_a_size(self, data):
        assert findings_of(data, model="xception")["small"].count == 30
        assert findings_of(data, image_size=91)["small"].count == 30
        assert findings_of(data, image_size=90) == {}
        with pytest.raises(InputError, match="did you mean 'xception'"):
            findings_of(data, model="xceptoin")

    def test_the_size_is_that_of_the_network_that_training_would_take(self, data, tmp_path):
        result = ception.check(data)
        assert (result.model, result.image_size) == ("xception", (299, 299))
        small = write_pictures(tmp_path / "small", {"a": 10, "b": 10}, size=(32, 32))
        assert (ception.check(small).model, ception.check(small).image_size) == ("separable_cnn", (28, 28))

    def test_photos_at_a_tiny_size_are_an_error(self, data):
        assert "shrunk" not in findings_of(data, image_size=28)  # 90 pixels are not four times as many
        for path in data.rglob("*.jpg"):
            scene(int(path.stem)).resize((300, 200)).save(path)
        found = findings_of(data, model="separable_cnn")["shrunk"]
        assert (found.severity, found.count) == ("error", 30)
        assert found.items[0].note == "300 x 200 pixels, the network takes 28 x 28"
        assert "shrunk" not in findings_of(data, model="xception", image_size=71)


class TestCache:
    @pytest.fixture
    def read(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The names of the files that are read."""
        names: list[str] = []
        real = scanning._facts

        def counting(pictures, index):
            names.append(Path(pictures.name(index)).name)
            return real(pictures, index)

        monkeypatch.setattr(scanning, "_facts", counting)
        return names

    def test_only_what_changed_is_read_again(self, data, read):
        (data / "cat" / "bad.png").write_text("no picture")
        first = ception.check(data)
        assert len(read) == 31
        read.clear()
        assert ception.check(data) == first
        assert read == ["bad.png"]  # which may be readable by now
        read.clear()
        scene(1).save(data / "dog" / "07.jpg")
        os.utime(data / "cat" / "02.jpg", ns=(0, 1))
        ception.check(data)
        assert sorted(read) == ["02.jpg", "07.jpg", "bad.png"]

    @pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00", b"something else entirely", None])
    def test_a_damaged_one_is_made_again(self, data, read, damage):
        first = ception.check(data)
        (path,) = (data.parent / "cache").iterdir()
        if damage is None:
            np.save(path, np.zeros(3))
        else:
            path.write_bytes(damage)
        read.clear()
        with pytest.warns(UserWarning, match="damaged"):
            assert ception.check(data) == first
        assert len(read) == 30
        read.clear()
        assert ception.check(data) == first
        assert read == []

    def test_it_is_shown_and_cleared_and_keeps_to_its_limit(self, data, run_cli):
        ception.check(data, cache_limit=0)
        assert not (data.parent / "cache").exists()
        ception.check(data)
        assert "holds 1 file" in run_cli("cache")[1]
        assert "Deleted 1 file" in run_cli("cache", "--clear")[1]

    def test_a_cache_that_cannot_be_written(self, data, monkeypatch):
        (data.parent / "file").touch()
        monkeypatch.setenv("CEPTION_CACHE", str(data.parent / "file" / "cache"))
        with pytest.warns(UserWarning, match="cannot be written"):
            assert ception.check(data).ok


class TestCommand:
    def test_good_data(self, data, run_cli):
        code, out, _ = run_cli("check", "data", "--image-size", "64")
        assert code == 0
        assert "30 pictures in 2 classes" in out
        assert out.splitlines()[-1] == "Next: ception train data --image-size 64"
        assert "Few pictures to judge a model by" in (data.parent / "check-data.html").read_text()

    def test_findings(self, data, run_cli):
        (data / "dog" / "same.jpg").write_bytes((data / "cat" / "03.jpg").read_bytes())
        code, out, _ = run_cli("check", "data")
        assert code == 1
        assert "data/cat/03.jpg = data/dog/same.jpg" in out
        assert "Way out: " in out
        assert out.splitlines()[-2] == f"Page: {(data.parent / 'check-data.html').absolute().as_uri()}"
        assert out.splitlines()[-1] == "Next: ception check data   # once what check-data.html shows is mended"

    def test_json_alone_equals_what_the_function_returns(self, data, run_cli):
        scene(1009).convert("RGBA").save(data / "cat" / "alpha.png")
        code, out, err = run_cli("check", "data", "--json", "--quiet")
        assert (code, err) == (0, "")
        assert json.loads(out) == ception.check("data").as_dict()

    def test_odd_names_come_through(self, data, run_cli):
        whole = (data / "cat" / "03.jpg").read_bytes()
        (data / "<b>&amp;").mkdir()
        for name in (b"new\nline.jpg", b"\xff.jpg", b"<script>alert(1)</script>.jpg"[:40].replace(b"/", b"")):
            Path(os.fsdecode(os.fsencode(data / "<b>&amp;") + b"/" + name)).write_bytes(whole)
        code, out, _ = run_cli("check", "data")
        assert code == 1
        assert "new\\nline.jpg" in out
        page = (data.parent / "check-data.html").read_text()
        assert "<b>&amp;" not in page.replace("&lt;b&gt;&amp;amp;", "")
        assert "<script" not in page
        assert "http" not in page
        assert json.loads(run_cli("check", "data", "--json")[1])["pictures"] == 33

    def test_many_findings_are_cut_on_the_page(self, data):
        for index in range(15):
            (data / "dog" / f"same{index}.jpg").write_bytes((data / "cat" / f"{index:02}.jpg").read_bytes())
        result = ception.check(data, image_size=200)
        page = Path(result.page).read_text()
        assert "and 3 more" in page
        assert "and 21 more" in page
        assert page.partition('id="seen"')[0].count("<img") == 24 + 24

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["no-such"], "no folder 'no-such'"),
            (["data", "--out", "page.png"], "end it in .html"),
            (["data", "--out", "mine.html"], "no page of ception check"),
            (["data", "--out", "mine.html/page.html"], "mine.html/page.html cannot be written: Not a directory"),
            (["data", "--model", "none.keras"], "none.keras cannot be opened"),
        ],
    )
    def test_wrong_use_is_one_line_and_exit_code_2(self, data, run_cli, arguments, says):
        (data.parent / "mine.html").write_text("my page")
        code, out, err = run_cli("check", *arguments)
        assert (code, out) == (2, "")
        assert says in err
        assert err.count("\n") == 1
        assert (data.parent / "mine.html").read_text() == "my page"
        assert not list(data.parent.glob("check-*"))

    def test_the_page_is_known_to_be_writable_before_a_picture_is_read(self, data, monkeypatch):
        monkeypatch.setattr(scanning, "scan", lambda *_, **__: pytest.fail("nothing may be read"))
        (data.parent / "file").touch()
        with pytest.raises(InputError, match="cannot be written: Not a directory; name another file with --out"):
            ception.check(data, out=data.parent / "file" / "deep" / "page.html")

    def test_keras_is_not_imported(self, data):
        code = (
            "import sys; from ception.cli import main; main(['check', 'data', '--quiet']);"
            "sys.exit(' '.join({'keras', 'tensorflow', 'matplotlib'} & set(sys.modules)) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
