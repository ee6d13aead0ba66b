"""Groups of pictures as arrays, and what lies on disk in place of memory."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ception.checking import groups, on_disk
from ception.checking.on_disk import OnDisk, Selected
from ception.errors import RunError


def listed(found: groups.Groups) -> list[list[int]]:
    return [group.tolist() for group in found]


class TestGroups:
    @given(npst.arrays(np.int64, st.integers(0, 40), elements=st.integers(0, 9)))
    def test_they_are_the_places_that_share_a_value(self, values):
        places = {value: np.flatnonzero(values == value).tolist() for value in dict.fromkeys(values.tolist())}
        found = groups.groups(values)
        assert listed(found) == [group for group in places.values() if len(group) > 1]
        assert [len(group) for group in found] == found.sizes.tolist()
        assert listed(found[1:]) == listed(found)[1:]
        assert listed(found[::-1]) == listed(found)[::-1]

    @given(npst.arrays(np.int64, st.integers(0, 40), elements=st.integers(0, 9)), st.randoms())
    def test_what_is_asked_of_each_is_asked_of_its_members(self, values, random):
        found, other = groups.groups(values), np.array([random.randrange(2) for _ in values], bool)
        members = listed(found)
        assert found.cross(other).tolist() == [len(set(other[group].tolist())) > 1 for group in members]
        assert found.all(other).tolist() == [bool(other[group].all()) for group in members]
        assert listed(found.where(found.all(other))) == [group for group in members if other[group].all()]
        assert listed(found.of(np.arange(len(values)) + 100)) == [[one + 100 for one in group] for group in members]

    @given(st.integers(1, 30), st.data())
    def test_a_forest_has_the_groups_that_pairs_make(self, count, data):
        parent, number_of = np.arange(count), np.arange(count)
        for _ in range(data.draw(st.integers(0, 4))):
            pairs = data.draw(
                npst.arrays(np.intp, (data.draw(st.integers(0, 9)), 2), elements=st.integers(0, count - 1))
            )
            groups.join(parent, *pairs.T)
            number_of = groups.joined(number_of, *pairs.T)
            assert listed(groups.groups(groups.roots(parent.copy(), np.arange(count)))) == listed(
                groups.groups(number_of)
            )

    def test_a_pair_is_joined_without_a_look_at_the_others(self):
        parent = np.arange(9)
        parent[5:] = 99  # which would be an error to ask for
        groups.join(parent, np.array([1, 2]), np.array([2, 4]))
        assert set(groups.roots(parent, np.array([1, 2, 4])).tolist()) in ({1}, {2}, {4})


class TestOnDisk:
    @given(npst.arrays(np.uint16, (23, 2, 3)), st.lists(st.integers(0, 22)), st.integers(1, 9))
    def test_rows_come_back_in_any_order(self, rows, places, step):
        with OnDisk(len(rows), (2, 3), np.uint16) as file:
            for start in reversed(range(0, len(rows), step)):
                file.write(start, rows[start : start + step])
            asked = np.array(places, np.int64)
            assert np.array_equal(file[asked], rows[asked])
            assert np.array_equal(file[step : 2 * step], rows[step : 2 * step])
            assert np.array_equal(Selected(file, asked)[:], rows[asked])
            assert (len(file), len(Selected(file, asked))) == (23, len(asked))

    def test_what_was_not_written_is_0(self):
        with OnDisk(3, (), np.int32) as file:
            file.write(1, np.array([7]))
            assert file[:].tolist() == [0, 7, 0]

    def test_nothing_is_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with OnDisk(1000, (16, 16), np.uint8) as file:
            file.write(0, np.ones((1000, 16, 16), np.uint8))
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ValueError, match="closed"):
            file[:1]

    def test_a_full_disk_is_told(self, monkeypatch: pytest.MonkeyPatch):
        class Full(io.BytesIO):
            def write(self, _):
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(on_disk.tempfile, "TemporaryFile", lambda **_: Full())
        with OnDisk(2, (4,), np.uint8) as file, pytest.raises(RunError, match="No space left on device; set TMPDIR"):
            file.write(0, np.ones((1, 4), np.uint8))
