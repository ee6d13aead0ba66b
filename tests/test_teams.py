"""Processes that train together, as threads: what they tell each other, and what each does."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import ception
from ception import distributed
from ception.data import rows
from ception.distributed import ALONE, LostError, Place, ToldElsewhereError, place_of
from ception.distributed import team as teams
from ception.distributed.places import variables
from ception.errors import InputError, RunError
from ception.training import limits, planning, run_folder, sharing, state
from support.reporters import Notes
from support.teams import Dictionary, together

GIVEN = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "first", "MASTER_PORT": "29500"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_LOCAL_SIZE": "3"}
SLURM = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "node[07-08,12]", "SLURM_JOB_ID": "9"}


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(teams, "SILENCE_S", 0.3)
    monkeypatch.setattr(teams, "_PULSE_S", 0.05)
    monkeypatch.setattr(teams, "_LAST_WORDS_S", 0.5)


class TestPlace:
    def test_alone(self):
        assert place_of({}) is None
        assert place_of(GIVEN | {"RANK": "0", "WORLD_SIZE": "1"}) is None

    def test_what_torchrun_says(self):
        assert place_of(GIVEN) == Place(1, 4, "first", 29500)

    def test_open_mpi_on_one_machine(self):
        places = [place_of(OPEN_MPI | {"OMPI_COMM_WORLD_RANK": str(index)}) for index in range(3)]
        assert [place.index for place in places] == [0, 1, 2]
        assert len({(place.host, place.port) for place in places}) == 1
        assert places[0].host == "127.0.0.1"

    def test_open_mpi_on_several_must_be_told(self):
        several = OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}
        with pytest.raises(InputError, match="set MASTER_ADDR and MASTER_PORT"):
            place_of(several)
        assert place_of(several | {"MASTER_ADDR": "h", "MASTER_PORT": "5"}) == Place(2, 3, "h", 5)

    @pytest.mark.parametrize(("nodes", "host"), [
        ("node[07-08,12]", "node07"), ("a,b", "a"), ("gpu-3", "gpu-3"), ("rack1-n[5]", "rack1-n5"),
    ])  # fmt: skip
    def test_slurm(self, nodes, host):
        place = place_of(SLURM | {"SLURM_STEP_NODELIST": nodes})
        assert (place.index, place.count, place.host) == (1, 2, host)
        assert 61440 <= place.port < 65536

    def test_a_batch_script_of_slurm_is_alone(self):
        assert place_of({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "9"}) is None

    def test_a_number_of_processes_alone_is_not_enough(self):
        with pytest.raises(InputError, match="WORLD_SIZE=2, but RANK does not say which of them this one is"):
            place_of({"WORLD_SIZE": "2"})
        assert place_of({"WORLD_SIZE": "1"}) is None
        assert place_of(OPEN_MPI | {"WORLD_SIZE": "3"}).index == 2

    def test_by_hand(self):
        assert place_of(variables("1/4@node0:29500")) == Place(1, 4, "node0", 29500)
        assert place_of(variables("0/2@fe80::1:29500")) == Place(0, 2, "fe80::1", 29500)

    @pytest.mark.parametrize("wrong", [
        "1", "1/2", "1/2@node0", "a/2@b:1", "1/2@:29500", "-1/2@node0:1", "2/2@node0:1", "0/0@node0:1", "0/2@a:99999",
    ])  # fmt: skip
    def test_by_hand_wrongly(self, wrong):
        with pytest.raises(InputError, match=r"give INDEX/COUNT@HOST:PORT, such as 0/2@node0:29500"):
            variables(wrong)

    @pytest.mark.parametrize(("wrong", "said"), [
        ({"RANK": "4"}, "RANK=4 is none of"), ({"RANK": "x"}, "is no number"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0 is no"), ({"MASTER_PORT": "70000"}, "MASTER_PORT=70000 is none of"),
    ])  # fmt: skip
    def test_what_makes_no_sense(self, wrong, said):
        with pytest.raises(InputError, match=said):
            place_of(GIVEN | wrong)


class TestTogether:
    def test_one_alone_has_what_it_has(self):
        assert (ALONE.everyone(3), ALONE.first("a"), ALONE.shard) == ([3], "a", (0, 1))
        with pytest.raises(InputError), ALONE.agreed():
            raise InputError("wrong")

    def test_everyone_hears_everyone(self):
        assert together(lambda team: team.everyone([team.index, None]), 3) == [[[0, None], [1, None], [2, None]]] * 3

    def test_the_first_decides(self):
        assert together(lambda team: team.first({"late": team.index == 0})) == [{"late": True}] * 2

    def test_messages_are_taken_away(self):
        board = Dictionary()
        together(lambda team: [team.everyone(step) for step in range(50)], board=board)
        assert len(board.messages) < 10

    def test_a_failure_is_that_of_all_and_told_once(self, impatient):
        def fail(team):
            with team.agreed():
                if team.index == 1:
                    raise InputError("no such folder")

        first, second, third = together(fail, 3)
        assert isinstance(first, RunError)
        assert "process 2 of 3 on" in str(first)
        assert "no such folder" in str(first)
        assert isinstance(second, ToldElsewhereError)
        assert isinstance(third, ToldElsewhereError)

    def test_the_first_tells_its_own_in_its_own_words(self, impatient):
        def fail(team):
            with team.agreed():
                raise InputError(f"wrong {team.index}")

        first, second = together(fail)
        assert (type(first), str(first)) == (InputError, "wrong 0")
        assert isinstance(second, ToldElsewhereError)

    def test_other_data_are_refused(self):
        first, second = together(lambda team: team.require_same(str(team.index), "reads other pictures"))
        assert (type(first), str(first)[:42]) == (InputError, "process 2 of 2 reads other pictures than t")
        assert isinstance(second, ToldElsewhereError)

    def test_who_says_nothing_any_more_is_lost(self, impatient):
        def leave(team):
            if team.index == 1:
                return team.close()
            return team.everyone(1)

        first, _ = together(leave)
        assert type(first) is LostError

    def test_who_takes_long_is_waited_for(self, impatient):
        waited = threading.Event()

        def linger(team):
            if team.index == 1:
                waited.wait(1.0)  # longer than the silence that counts as loss
            return team.everyone(team.index)

        assert together(linger) == [[0, 1]] * 2

    def test_who_could_not_say_once_that_it_lives_says_so_again(self, impatient):
        class Shaken(Dictionary):
            def put(self, key, value):
                if (key, value) == ("pulse/1", b"2"):
                    raise OSError("cut for a moment")
                super().put(key, value)

        waited = threading.Event()

        def linger(team):
            if team.index == 1:
                waited.wait(1.0)  # longer than the silence that counts as loss
            return team.everyone(team.index)

        assert together(linger, board=Shaken()) == [[0, 1]] * 2

    def test_a_call_without_an_end_is_left_once_another_says_nothing(self, impatient):
        never = threading.Event()

        def wait(team):
            if team.index == 1:
                return team.close()
            return team.while_all_live(never.wait)

        first, _ = together(wait)
        never.set()
        assert type(first) is LostError

    def test_a_call_that_takes_long_is_waited_for_while_the_others_live(self, impatient):
        assert together(lambda team: team.while_all_live(lambda: threading.Event().wait(1.0))) == [False, False]

    def test_what_the_call_raises_is_raised(self, impatient):
        def fail():
            raise TimeoutError("of its own")

        assert [str(error) for error in together(lambda team: team.while_all_live(fail))] == ["of its own"] * 2

    def test_the_first_of_those_left_tells_the_loss(self, impatient):
        told = together(lambda team: team.lost(), 3)
        assert [type(error) for error in told] == [LostError, ToldElsewhereError, ToldElsewhereError]

    def test_a_board_that_is_gone_is_a_loss(self, impatient):
        class Broken(Dictionary):
            def get(self, key):
                raise OSError("cut")

        assert {type(error) for error in together(lambda team: None, board=Broken())} == {LostError}


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="PyTorch parts without a word")
class TestPartingOnJax:
    """JAX's own end waits for processes that are gone, or aborts: it must not come to that."""

    def ends(self, monkeypatch, do):
        """Codes of two processes that end before JAX does, the second of which does something first; what they tell."""
        from ception.distributed import jax as joining

        codes, told, board = [], [], Dictionary()
        monkeypatch.setattr(joining, "_Service", lambda: board)
        monkeypatch.setattr(joining, "_LEAVING_S", 0)
        monkeypatch.setattr(joining.atexit, "register", lambda end: None)
        monkeypatch.setattr(joining.os, "_exit", codes.append)

        def live(index):
            team = joining.JaxTeam(Place(index, 2, "nowhere", 1))
            if index:
                do(team)
            try:
                team.close()
            except LostError as error:
                told.append(str(error))
            team._end()

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(live, range(2)))
        return codes, told

    def test_all_part(self, impatient, monkeypatch):
        assert self.ends(monkeypatch, lambda team: None) == ([], [])

    def test_one_is_gone_when_they_part(self, impatient, monkeypatch):
        codes, (told,) = self.ends(monkeypatch, lambda team: team.lost())
        assert codes == [1, 1]
        assert told.startswith("all is done and written, but as the processes parted, another process of the training")


class TestTraining:
    def test_memory_is_that_of_the_poorest_on_its_own_share(self, monkeypatch):
        asked = []
        monkeypatch.setattr(
            limits, "free_bytes", lambda: 1000 if threading.current_thread().name.endswith("0") else 600
        )
        monkeypatch.setattr(limits, "parts_that_fit", lambda network, batch, free: asked.append((batch, free)))
        together(lambda team: limits.parts_for_team(None, 33, team))
        assert asked == [(17, 300)] * 2

    def test_different_weights_are_noticed(self):
        def differ(team):
            network = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
            network.set_weights([np.full((2, 1), team.index * gap), np.zeros(1)])
            network.compile("sgd", "mse")
            state.require_equal(network, team)

        gap = 0.0
        assert together(differ) == [None, None]
        gap = 1e-7
        assert {type(error) for error in together(differ)} == {RunError}

    def test_the_first_ones_weights_are_taken(self):
        def take(team):
            layer = keras.layers.Dense(1)
            layer.build((None, 2))
            layer.set_weights([np.full((2, 1), 1.0 + team.index), np.zeros(1)])
            state.equalise(layer, team)
            return layer.get_weights()[0].tolist()

        assert together(take) == [[[1.0], [1.0]]] * 2

    def test_the_run_folder_is_copied_for_the_others(self, tmp_path):
        (tmp_path / "run/checkpoints").mkdir(parents=True)
        (tmp_path / "run/checkpoints/plan.json").write_text("{}")
        (tmp_path / "run/checkpoints/lock").write_text("mine")

        def look(team):
            with run_folder.for_team(team, lambda: run_folder.RunFolder(tmp_path / "run")) as folder:
                names = sorted(path.name for path in folder.path.rglob("*") if path.is_file())
                return folder.told, folder.path == folder.told, names

        first, second = together(look)
        assert first == (tmp_path / "run", True, ["lock", "plan.json"])
        assert second == (tmp_path / "run", False, ["plan.json"])

    def test_a_run_folder_that_cannot_be_made_ends_all(self, impatient, tmp_path):
        (tmp_path / "runs").write_text("a file")

        def make(team):
            with run_folder.for_team(team, lambda: run_folder.create(tmp_path / "runs", "x")):
                pass

        first, second = together(make)
        assert "cannot be written" in str(first)
        assert isinstance(second, ToldElsewhereError)


class TestPlan:
    def plan(self, manner, fingerprint="same", batch_size=32):
        def refuse(team):
            team.manner = manner
            recipe = SimpleNamespace(solver=None, batch_size=batch_size)
            plan = planning.Plan(
                settings=None, data=SimpleNamespace(fingerprint=lambda: fingerprint.format(team.index)),
                phases=[SimpleNamespace(recipe=recipe)], description=None, dtype="float32", team=team,
            )  # fmt: skip
            plan.require_together()

        return together(refuse, 3)

    def test_other_data_are_refused(self):
        assert "reads other pictures" in str(self.plan("added", "{}")[0])
        assert self.plan("added") == [None] * 3

    def test_other_kernels_are_refused(self, monkeypatch):
        each = itertools.count()
        monkeypatch.setattr(planning, "operations", lambda: SimpleNamespace(__name__=f"kernels {next(each)}"))
        assert "has other compiled kernels than the first" in str(self.plan("added")[0])

    def test_batches_that_jax_cannot_divide_are_refused(self):
        for error in self.plan("spread"):
            assert str(error).startswith("batches of 32 cannot be divided evenly among 3 processes")
            assert str(error).endswith("give another --batch-size, such as 33")
        assert self.plan("spread", batch_size=33) == [None] * 3


class TestSharing:
    KEYS = np.arange(20, dtype=np.uint64).view("V8").astype("V16")

    def shared(self, monkeypatch, computed, keys=KEYS, held=10 * 4):
        monkeypatch.setattr(sharing, "_HELD", held)

        def share(team):
            def compute(indices):
                computed[team.index] += indices.tolist()
                if len(indices):
                    yield indices, indices[:, None].astype(np.float32)

            stored, row_of = sharing.collect(
                team, "features-" + "0" * 24, keys, (1,), np.float32, compute, in_all=len(keys), limit_gb=1,
                announce=lambda *counts: team.index or announced.append(counts), reporter=Notes(),
            )  # fmt: skip
            return stored[row_of][:, 0].tolist()

        announced = []
        return together(share), announced

    def test_each_computes_its_share_and_has_all(self, own_cache, monkeypatch):
        computed = [[], []]
        found, announced = self.shared(monkeypatch, computed)
        assert found == [list(range(20))] * 2
        assert sorted(computed[0] + computed[1]) == list(range(20))
        assert len(computed[0]) == len(computed[1])
        assert announced == [(20, 80, 80)]

    def test_what_is_there_is_not_computed_again(self, own_cache, monkeypatch):
        self.shared(monkeypatch, [[], []], self.KEYS[:15])
        computed = [[], []]
        found, _ = self.shared(monkeypatch, computed)
        assert found == [list(range(20))] * 2
        assert sorted(computed[0] + computed[1]) == list(range(15, 20))

    def test_what_is_missing_is_told_without_a_lock(self, own_cache):
        assert rows.missing("features-" + "0" * 24, self.KEYS).all()


class TestEnvironment:
    def test_tensorflow_is_refused_once(self, monkeypatch, folder):
        monkeypatch.setattr("ception.backends.choose", lambda wanted: "tensorflow")
        for name, value in GIVEN.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ToldElsewhereError, match="--backend torch or jax"):
            ception.train(folder)
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(InputError, match="--backend torch or jax"):
            ception.train(folder)

    def test_only_the_first_complains(self, monkeypatch, run_cli):
        for name, value in GIVEN.items():
            monkeypatch.setenv(name, value)
        assert run_cli("train") == (2, "", "")
        monkeypatch.setenv("RANK", "0")
        assert "train needs DATA" in run_cli("train")[2]

    def test_a_place_that_makes_no_sense_is_told(self, monkeypatch, run_cli, folder):
        for name, value in (GIVEN | {"RANK": "7"}).items():
            monkeypatch.setenv(name, value)
        assert distributed.is_first()
        assert "RANK=7 is none of" in run_cli("train", folder)[2]
