"""Results kept by content, in memory and on disk."""

import dataclasses
import os
import pickle
import shutil
import threading
import tracemalloc
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

import ravine.cabinet
import ravine.store
from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS
from ravine import Experiment, Result, Store, compute

TINY = MLP(data="chebyshev", objective="squared", hidden=(4,))


def network(seed=0, **changes):
    values = {"landscape": TINY, "optimizers": (OPTIMIZERS["gd"](lr=0.1),), "view": "edge", "steps": 3}
    return Experiment(**(values | {"seed": seed} | changes))


EXAMPLES = {
    "descend": Experiment(landscape=LANDSCAPES["booth"](), optimizers=(OPTIMIZERS["gd"](),), steps=3),
    "edge": network(),
    "slice": network(view="slice", points=5),
}
RESULTS = {view: compute(one) for view, one in EXAMPLES.items()}


def made(seed):
    """A result under a key of its own, cheaply: the numbers are those of another seed."""
    return dataclasses.replace(RESULTS["edge"], experiment=network(seed))


def same(one, other):
    first, second = one.arrays(), other.arrays()
    assert list(first) == list(second)
    for name, array in first.items():
        assert (array.dtype, array.shape) == (second[name].dtype, second[name].shape)
        assert array.tobytes() == second[name].tobytes()


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


# ------------------------------------------------------------------ memory and disk


@pytest.mark.parametrize("view", RESULTS)
def test_what_was_put_is_found_exactly(view, tmp_path):
    store = Store(tmp_path)
    assert store.get(EXAMPLES[view]) is None
    store.put(RESULTS[view], keep=False)
    assert store.get(EXAMPLES[view]) is RESULTS[view]
    assert files(tmp_path) == []
    assert Store(tmp_path).get(EXAMPLES[view]) is None


@pytest.mark.parametrize("view", RESULTS)
def test_what_was_kept_survives_a_restart_exactly(view, tmp_path):
    Store(tmp_path).put(RESULTS[view], keep=True)
    again = Store(tmp_path).get(EXAMPLES[view])
    same(again, RESULTS[view])
    assert again.experiment == EXAMPLES[view]
    assert again.complete
    assert again.sentences() == RESULTS[view].sentences()


def test_a_result_read_from_disk_stays_in_memory(tmp_path):
    Store(tmp_path).put(RESULTS["edge"], keep=True)
    store = Store(tmp_path)
    first = store.get(EXAMPLES["edge"])
    for path in files(tmp_path):
        path.unlink()
    assert store.get(EXAMPLES["edge"]) is first


def test_the_environment_says_where(tmp_path, monkeypatch):
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "here"))
    Store().put(RESULTS["edge"], keep=True)
    assert len(files(tmp_path / "here")) == 1
    same(Store(tmp_path / "here").get(EXAMPLES["edge"]), RESULTS["edge"])


def test_other_experiments_have_other_files(tmp_path):
    store = Store(tmp_path)
    experiments = [network(seed) for seed in range(5)] + [network(steps=4), network(every=2), network(dtype="float32")]
    for one in experiments:
        store.put(dataclasses.replace(RESULTS["edge"], experiment=one), keep=True)
    assert len(files(tmp_path)) == len(experiments)
    store.put(RESULTS["edge"], keep=True)
    assert len(files(tmp_path)) == len(experiments)
    assert Store(tmp_path).get(network(seed=99)) is None


def test_what_only_looks_different_shares_a_file(tmp_path):
    Store(tmp_path).put(RESULTS["slice"], keep=True)
    same(Store(tmp_path).get(dataclasses.replace(EXAMPLES["slice"], mode="surface")), RESULTS["slice"])


@pytest.mark.parametrize("what", ["ravine", "torch"])
def test_another_version_has_other_files(what, tmp_path, monkeypatch):
    Store(tmp_path).put(RESULTS["edge"], keep=True)
    if what == "torch":
        monkeypatch.setattr(torch, "__version__", "0.0")
    else:
        monkeypatch.setattr(ravine.store, "__version__", "0.0")
    assert Store(tmp_path).get(EXAMPLES["edge"]) is None
    monkeypatch.undo()
    assert Store(tmp_path).get(EXAMPLES["edge"]) is not None


# ------------------------------------------------------------------ nothing is pickled, damage is harmless


def test_files_are_arrays_and_nothing_else(tmp_path):
    Store(tmp_path).put(RESULTS["slice"], keep=True)
    (path,) = files(tmp_path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    with np.load(path, allow_pickle=False) as arrays:
        assert (
            {name.removesuffix(".npy") for name in names}
            == set(arrays.files)
            == {*RESULTS["slice"].arrays(), "provenance"}
        )
        assert all(arrays[name].dtype != object for name in arrays.files)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_in_the_folder_is_never_opened(tmp_path):
    Store(tmp_path).put(RESULTS["edge"], keep=True)
    (path,) = files(tmp_path)
    trap = np.empty((), dtype=object)
    trap[()] = Trap(tmp_path / "sprung")
    pickle.loads(pickle.dumps(Trap(tmp_path / "it works")))
    assert (tmp_path / "it works").exists()
    for poison in ("pickle", "array", "archive"):
        with path.open("wb") as file:
            if poison == "pickle":
                pickle.dump(trap[()], file)
            elif poison == "array":
                np.save(file, trap)
            else:
                np.savez(file, **RESULTS["edge"].arrays() | {"loss": trap})
        assert Store(tmp_path).get(EXAMPLES["edge"]) is None
        assert not path.exists()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"PK",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data[1:],
        lambda data: b"\0" * len(data),
        lambda data: b"not a file of ours",
        lambda data: b"\x93NUMPY" + data,
    ],
    ids=["empty", "two bytes", "half", "one short", "first gone", "zeros", "text", "other magic"],
)
def test_a_damaged_file_counts_as_absent_and_is_removed(damage, tmp_path):
    store = Store(tmp_path)
    store.put(RESULTS["edge"], keep=True)
    (path,) = files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert Store(tmp_path).get(EXAMPLES["edge"]) is None
    assert not path.exists()
    store = Store(tmp_path)
    same(compute(EXAMPLES["edge"], store=store), RESULTS["edge"])
    same(Store(tmp_path).get(EXAMPLES["edge"]), RESULTS["edge"])


@pytest.mark.parametrize("content", ["one array", "too few", "texts"])
def test_a_file_of_something_else_counts_as_absent(content, tmp_path):
    Store(tmp_path).put(RESULTS["edge"], keep=True)
    (path,) = files(tmp_path)
    arrays = RESULTS["edge"].arrays()
    with path.open("wb") as file:
        if content == "one array":
            np.save(file, arrays["loss"])
        elif content == "too few":
            np.savez(file, loss=arrays["loss"])
        else:
            np.savez(file, **dict.fromkeys(arrays, np.array(["text"])))
    assert Store(tmp_path).get(EXAMPLES["edge"]) is None
    assert not path.exists()


@profile(max_examples=60)
@given(st.data())
def test_no_flipped_bit_changes_a_number(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    Store(folder).put(RESULTS["edge"], keep=True)
    (path,) = files(folder)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    found = Store(folder).get(EXAMPLES["edge"])
    if found is not None:  # the bit was one that no reader looks at, such as a time stamp
        same(found, RESULTS["edge"])
    else:
        assert not path.exists()


# ------------------------------------------------------------------ bounds


def test_memory_forgets_what_was_asked_for_longest_ago(tmp_path):
    size = RESULTS["edge"].nbytes
    store = Store(tmp_path, memory_bytes=3 * size)
    for seed in range(3):
        store.put(made(seed), keep=False)
    assert store.get(network(0)) is not None
    store.put(made(3), keep=False)
    assert [store.get(network(seed)) is not None for seed in range(4)] == [True, False, True, True]
    store.put(made(2), keep=False)  # put again: the youngest now
    store.put(made(4), keep=False)
    assert [store.get(network(seed)) is not None for seed in range(5)] == [False, False, True, True, True]


def test_one_result_larger_than_memory_is_still_served(tmp_path):
    store = Store(tmp_path, memory_bytes=1)
    store.put(made(0), keep=False)
    assert store.get(network(0)) is not None
    store.put(made(1), keep=False)
    assert store.get(network(0)) is None
    assert store.get(network(1)) is not None


def test_the_folder_keeps_to_its_bound(tmp_path):
    Store(tmp_path).put(made(0), keep=True)
    (first,) = files(tmp_path)
    size = first.stat().st_size
    store = Store(tmp_path, disk_bytes=3 * size + 10)
    os.utime(first, (1000, 1000))
    for seed in range(1, 7):
        store.put(made(seed), keep=True)
        youngest = [path for path in files(tmp_path) if path.stat().st_mtime > 1e6]
        for path in youngest:  # clocks of file systems are coarse: set the order by hand
            os.utime(path, (1000 + seed, 1000 + seed))
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 3 * size + 10
    fresh = Store(tmp_path)
    assert [fresh.get(network(seed)) is not None for seed in range(7)] == [False] * 4 + [True] * 3


def test_a_file_that_is_read_is_not_the_next_to_go(tmp_path):
    Store(tmp_path).put(made(0), keep=True)
    (first,) = files(tmp_path)
    os.utime(first, (1000, 1000))
    Store(tmp_path).put(made(1), keep=True)
    (second,) = [path for path in files(tmp_path) if path != first]
    os.utime(second, (2000, 2000))
    assert Store(tmp_path).get(network(0)) is not None
    Store(tmp_path, disk_bytes=int(2.5 * first.stat().st_size)).put(made(2), keep=True)
    assert first.exists()
    assert not second.exists()


# ------------------------------------------------------------------ disks that do not serve


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file")
    assert store.get(EXAMPLES["edge"]) is None
    store.put(RESULTS["edge"], keep=True)
    assert store.get(EXAMPLES["edge"]) is RESULTS["edge"]
    same(compute(EXAMPLES["slice"], store=store), RESULTS["slice"])
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_read_only_folder_is_no_error(tmp_path, monkeypatch):
    """Root may write anywhere, so the refusals of a read-only file system are played here."""
    Store(tmp_path).put(made(0), keep=True)
    Store(tmp_path).put(made(1), keep=True)
    damaged = Store(tmp_path)._path(network(1))
    damaged.write_bytes(b"PK damaged")

    def refuse(*args, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(ravine.cabinet.tempfile, "NamedTemporaryFile", refuse)
    for name in ("replace", "utime", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    store = Store(tmp_path)
    same(store.get(network(0)), made(0))
    assert store.get(network(1)) is None
    store.put(made(2), keep=True)
    assert store.get(network(2)) is not None


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    store = Store(tmp_path)
    store.put(RESULTS["edge"], keep=True)
    assert store.get(EXAMPLES["edge"]) is RESULTS["edge"]
    assert files(tmp_path) == []


def test_a_store_serves_several_threads(tmp_path):
    store = Store(tmp_path, memory_bytes=2 * RESULTS["edge"].nbytes)
    failures = []

    def work(first):
        try:
            for seed in [*range(first, 8), *range(first)]:
                store.put(made(seed), keep=True)
                same(store.get(network(seed)), RESULTS["edge"])
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 3, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert len(files(tmp_path)) == 8
    assert isinstance(Store(tmp_path).get(network(5)), Result)


# ------------------------------------------------------------------ what writers leave, and what they take


def large(numbers):
    """A result whose path is that many numbers long."""
    path = dataclasses.replace(
        RESULTS["edge"].trajectory, params=torch.arange(float(numbers), dtype=torch.float64)[None]
    )
    return dataclasses.replace(RESULTS["edge"], trajectory=path)


def test_a_file_is_written_and_read_without_a_copy_of_its_numbers(tmp_path):
    result, store = large(15_000_000), Store(tmp_path)
    size = result.nbytes

    def taken(act):
        tracemalloc.start()
        kept = act()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return kept, peak

    _, written = taken(lambda: store.put(result, keep=True))
    assert written < size / 4
    found, read = taken(lambda: Store(tmp_path).get(EXAMPLES["edge"]))
    same(found, result)
    assert size <= read < 1.25 * size


def test_what_a_killed_writer_left_is_counted_and_removed_once_it_is_old(tmp_path):
    """The ending is ours, or none: earlier versions gave none."""
    store = Store(tmp_path)
    store.put(made(0), keep=True)
    (first,) = files(tmp_path)
    size = first.stat().st_size
    left = [tmp_path / "results" / "tmpabc.part", tmp_path / "pieces" / "some" / "tmpdef"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, (1000, 1000))
    busy = tmp_path / "results" / "tmpghi.part"  # somebody may be writing it
    busy.write_bytes(b"x" * size)
    store.put(made(1), keep=True)
    assert not any(path.exists() for path in left)
    assert busy.exists()
    os.utime(first, (1000, 1000))
    Store(tmp_path, disk_bytes=int(3.5 * size)).put(made(2), keep=True)
    assert not first.exists()  # the unfinished one takes its room
    assert busy.exists()


@pytest.fixture
def small_disk(monkeypatch):
    """A disk of so many bytes, played: writing beyond them raises as a full one does."""

    def play(folder, most):
        real = np.savez

        def taken():
            return sum(path.stat().st_size for path in files(folder))

        def savez(file, **arrays):
            file.write(b"x" * 100)  # a full disk is noticed on the way
            file.flush()
            if taken() + sum(one.nbytes for one in arrays.values()) > most:
                raise OSError(28, "No space left on device")
            file.seek(0)
            real(file, **arrays)

        monkeypatch.setattr(ravine.cabinet.np, "savez", savez)
        monkeypatch.setattr(
            ravine.cabinet.shutil, "disk_usage", lambda where: SimpleNamespace(free=max(0, most - taken()))
        )

    return play


def test_on_a_full_disk_the_oldest_files_make_room(tmp_path, small_disk):
    Store(tmp_path).put(made(0), keep=True)
    (first,) = files(tmp_path)
    small_disk(tmp_path, int(4.5 * first.stat().st_size))
    store = Store(tmp_path)
    for seed in range(8):
        store.put(made(seed), keep=True)
        os.utime(store._path(network(seed)), (1000 + seed, 1000 + seed))
    kept = [seed for seed in range(8) if Store(tmp_path).get(network(seed)) is not None]
    assert kept[-1] == 7  # what is new is kept
    assert kept == list(range(kept[0], 8))
    assert all(path.suffix == ".npz" for path in files(tmp_path))


def test_a_result_that_no_disk_would_hold_drives_nothing_out(tmp_path, small_disk):
    store = Store(tmp_path)
    for seed in range(3):
        store.put(made(seed), keep=True)
    small_disk(tmp_path, sum(path.stat().st_size for path in files(tmp_path)) + 1000)
    huge = dataclasses.replace(large(100_000), experiment=network(9))
    store.put(huge, keep=True)
    assert store.get(network(9)) is huge
    assert [Store(tmp_path).get(network(seed)) is not None for seed in (0, 1, 2, 9)] == [True] * 3 + [False]


def test_a_folder_that_goes_while_room_is_made_is_no_error(tmp_path, monkeypatch):
    """Another process clears its shelf once the whole is there."""
    store, look = Store(tmp_path), os.scandir
    for seed in range(3):
        store.shelf(network(seed)).put(0, (torch.ones(5),))
    gone, *_, stays = sorted((tmp_path / "pieces").iterdir())

    def late(path="."):
        if str(path) == str(gone):
            shutil.rmtree(gone)
        return look(path)

    monkeypatch.setattr(os, "scandir", late)
    store.put(RESULTS["edge"], keep=True)
    assert not gone.exists()
    assert list(stays.iterdir())
    assert Store(tmp_path).get(EXAMPLES["edge"]) is not None
