from __future__ import annotations

import pickle

import numpy as np
import pytest

from ception.data.augmentation import Augmentation, Mixing
from ception.data.batches import Batches, order

PIXELS = np.random.default_rng(0).integers(0, 256, (100, 6, 5, 3), np.uint8)  # two views of 50 pictures
LABELS = (np.arange(50) % 4).astype(np.int32)
INDICES = np.arange(3, 48)  # 45 pictures: the last of the batches of 8 has 5
CLASS_WEIGHTS = np.array([1, 2, 3, 4], np.float32)
EVERYTHING = {
    "augmentation": Augmentation(flip=0.5, shift=0.2, erase=0.5, crop=0.3, colour=0.2, randaugment=9),
    "views": 2, "mixing": Mixing(mixup=0.4, cutmix=1.0), "weight_of": CLASS_WEIGHTS,
}  # fmt: skip
KINDS = [
    {}, {"seed": None}, {"views": 2}, {"augmentation": EVERYTHING["augmentation"]}, {"weight_of": CLASS_WEIGHTS},
    {"weight_of": CLASS_WEIGHTS, "mixing": EVERYTHING["mixing"]}, EVERYTHING,
]  # fmt: skip


def made(**options) -> Batches:
    return Batches(PIXELS, LABELS, INDICES, 8, **({"seed": 3} | options))


def read(batches: Batches, epochs: range = range(2)) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for batches.epoch in epochs:
        found += [batches[step] for step in range(len(batches))]
    return found


def assert_equal(ones, others):
    for one, other in zip(ones, others, strict=True):
        for array, expected in zip(one, other, strict=True):
            assert array.dtype == expected.dtype
            np.testing.assert_array_equal(array, expected)


class TestOrder:
    def numbers(self, seed, epoch=0, batch_size=8):
        pixels = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1)
        batches = Batches(pixels, np.arange(50), np.arange(5, 45), batch_size, seed=seed)
        return read(batches, range(epoch, epoch + 1))

    def test_each_epoch_has_every_picture_once_with_its_label(self):
        for epoch in range(3):
            found = self.numbers(seed=0, epoch=epoch)
            labels = np.concatenate([labels for _, labels in found])
            assert sorted(labels.tolist()) == list(range(5, 45))
            np.testing.assert_array_equal(np.concatenate([x for x, _ in found])[:, 0, 0, 0], labels)

    def test_it_follows_from_seed_and_epoch_alone(self):
        def labels(**options):
            return np.concatenate([labels for _, labels in self.numbers(**options)]).tolist()

        assert labels(seed=1, epoch=4) == labels(seed=1, epoch=4) == labels(seed=1, epoch=4, batch_size=16)
        assert labels(seed=1, epoch=4) != labels(seed=1, epoch=5)
        assert labels(seed=1, epoch=4) != labels(seed=2, epoch=4)
        assert labels(seed=None) == list(range(5, 45))

    def test_a_step_may_be_asked_for_twice(self):
        batches = made()
        for step in (0, 1, 0, 5, 2):
            chosen = order(INDICES, 3, 0)[step * 8 : step * 8 + 8]
            np.testing.assert_array_equal(batches[step][1], LABELS[chosen])


class TestTargets:
    def test_labels_become_weights_of_classes(self):
        chosen = order(INDICES, 3, 0)[:8]
        x, y = made(weight_of=CLASS_WEIGHTS)[0]
        np.testing.assert_array_equal(x, PIXELS[chosen])
        np.testing.assert_array_equal(y, np.diag(CLASS_WEIGHTS)[LABELS[chosen]])

    def test_mixing_differs_from_step_to_step(self):
        batches = made(weight_of=np.ones(4, np.float32), mixing=Mixing(mixup=1.0))
        shares = [batches[step][1].max(1).min() for step in range(2)]
        assert shares[0] != shares[1]
        for step in range(2):
            np.testing.assert_allclose(batches[step][1].sum(1), 1, rtol=1e-6)

    def test_views_differ_from_epoch_to_epoch(self):
        batches, second = made(seed=None, views=2), []
        for x, _ in read(batches, range(4)):
            first = np.array([any((picture == other).all() for other in PIXELS[:50]) for picture in x])
            second.append(~first)
        of_epochs = np.concatenate(second).reshape(4, len(INDICES))
        assert 0.3 < of_epochs.mean() < 0.7
        assert (of_epochs[0] != of_epochs[1]).any()


class TestPickle:
    @pytest.mark.parametrize("options", KINDS)
    def test_a_copy_gives_equal_batches(self, options):
        batches = made(**options)
        expected = read(batches)
        batches.epoch = 0
        batches[0]  # with further ones read ahead, which stay behind
        copy = pickle.loads(pickle.dumps(batches))
        assert_equal(read(copy), expected)
        assert_equal(read(batches), expected)

    def test_it_knows_its_epoch(self):
        batches = made()
        batches.epoch = 7
        assert_equal([pickle.loads(pickle.dumps(batches))[1]], [batches[1]])


class TestShards:
    @pytest.mark.parametrize("options", KINDS)
    @pytest.mark.parametrize("count", [1, 2, 3, 8])
    def test_together_they_are_the_batches_of_one_process(self, options, count):
        shards = [read(made(shard=(index, count), **options)) for index in range(count)]
        together = [
            tuple(np.concatenate([share[number] for share in shares]) for number in range(2))
            for shares in zip(*shards, strict=True)
        ]
        assert_equal(together, read(made(**options)))

    def test_shares_are_as_equal_as_can_be(self):
        sizes = [[len(y) for _, y in read(made(shard=(index, 3)), range(1))] for index in range(3)]
        assert sizes == [[3, 3, 3, 3, 3, 2], [3, 3, 3, 3, 3, 2], [2, 2, 2, 2, 2, 1]]

    def test_all_have_as_many_steps(self):
        assert {len(made(shard=(index, 8))) for index in range(8)} == {6}
        assert made(shard=(7, 8))[5][0].shape == (0, 6, 5, 3)  # 5 examples for 8 processes

    @pytest.mark.parametrize("options", KINDS)
    def test_what_cannot_be_divided_evenly_is_given_whole(self, options):
        shards = [read(made(shard=(index, 2), even=True, **options)) for index in range(2)]
        whole = [shards[0][0][0].shape[0] * 2, *(len(x) for x, _ in shards[0])]
        assert whole == [8, 4, 4, 4, 4, 4, 5, *whole[7:]]
        assert [made(shard=(0, 2), even=True).is_whole(step) for step in range(6)] == [False] * 5 + [True]
        assert_equal(shards[0][5:6], read(made(**options))[5:6])
        assert_equal(shards[1][5:6], read(made(**options))[5:6])
        assert not made(shard=(0, 5), even=True).is_whole(5)  # 5 examples for 5 processes
        assert not made(shard=(0, 2)).is_whole(5)

    def test_a_pickled_shard_stays_one(self):
        shard = made(shard=(1, 2), **EVERYTHING)
        assert_equal(read(pickle.loads(pickle.dumps(shard))), read(shard))

    @pytest.mark.parametrize(("options", "most"), [(KINDS[0], 2), (KINDS[3], 2), (KINDS[5], 4), (EVERYTHING, 4)])
    def test_only_what_the_share_needs_is_read(self, options, most):
        asked = []

        class Recorded:
            def __getitem__(self, indices):
                asked.append(len(indices))
                return PIXELS[indices]

        batches = Batches(Recorded(), LABELS, INDICES[:8], 8, **{"seed": 3, "views": 2, "shard": (1, 4)} | options)
        assert batches[0][0].shape[0] == 2
        assert len(asked) == 1
        assert 2 <= asked[0] <= most
