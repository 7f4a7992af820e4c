"""What a run that was stopped leaves, and what the next one makes of it."""

import contextlib
import multiprocessing
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from conftest import scene_of, two_band_spec, write_raster

from geoseg.config import InferenceSettings
from geoseg.errors import OutputError
from geoseg.files import sha256_of
from geoseg.inference import Prediction, predict_scene
from geoseg.inference.parts import open_parts
from geoseg.models import Segmenter
from geoseg.models.stem import FixedBands

CPU = torch.device("cpu")
SETTINGS = {"tile_px": 64, "halo_px": 16, "prevalence_reach_m": 0}


def make_segmenter(seed=0):
    torch.manual_seed(seed)
    spec = two_band_spec()
    network = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 5, padding=2)
    )
    return Segmenter(FixedBands((100.0,) * 2, (50.0,) * 2), network, spec).eval()


@pytest.fixture
def scene(tmp_path):
    image = np.random.default_rng(0).integers(1, 255, (2, 500, 300)).astype(np.uint8)
    image[:, 200:280] = 0
    return scene_of(write_raster(tmp_path / "scene.tif", image, nodata=0))


class StoppedError(Exception):
    """What the test stops a run with."""


def run(scene, folder, *, stop_at=None, on_tile=None, segmenter=None, **settings):
    chosen = InferenceSettings(**{**SETTINGS, **settings})
    seen = []

    def told(done, total):
        seen.append(done)
        if on_tile is not None:
            on_tile(done, total)
        if done == stop_at:
            raise StoppedError

    prediction = Prediction.within(folder, chosen)
    with contextlib.suppress(StoppedError):
        predict_scene(
            segmenter or make_segmenter(),
            scene,
            chosen,
            prediction=prediction,
            device=CPU,
            tags={"a": "b"},
            on_tile=told,
        )
    return prediction, seen


def hashes(folder):
    return {p.name: sha256_of(p) for p in folder.glob("*.tif")}


@pytest.mark.parametrize("blend", ["smooth", "crop"])
@pytest.mark.parametrize("reach_m", [0, 3000])
@pytest.mark.slow
def test_a_run_that_was_stopped_is_gone_on_with_to_the_same_bytes(scene, tmp_path, blend, reach_m):
    options = {"blend": blend, "prevalence_reach_m": reach_m, "uncertainty": "entropy"}
    _, all_tiles = run(scene, tmp_path / "whole", **options)
    whole = hashes(tmp_path / "whole")
    assert set(whole) == {"classes.tif", "probability.tif", "uncertainty.tif"}

    for stop in (1, 11, 12, 23, all_tiles[-1]):
        folder = tmp_path / f"stopped{stop}"
        run(scene, folder, stop_at=stop, **options)
        assert hashes(folder) == {}
        _, seen = run(scene, folder, **options)

        assert hashes(folder) == whole
        assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []
        if stop == 23:
            assert seen[0] > 10  # what was finished is not mapped again


@pytest.mark.slow
def test_another_job_in_the_same_place_begins_anew(scene, tmp_path):
    run(scene, tmp_path / "one", stop_at=20)
    _, seen = run(scene, tmp_path / "one", segmenter=make_segmenter(seed=1))
    run(scene, tmp_path / "two", segmenter=make_segmenter(seed=1))

    assert seen[0] == 1
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_what_is_done_is_not_done_again_until_something_changes(scene, tmp_path):
    folder = tmp_path / "out"
    prediction, _ = run(scene, folder)
    written = prediction.classes.stat().st_mtime_ns

    _, again = run(scene, folder)
    assert len(again) == 1
    assert prediction.classes.stat().st_mtime_ns == written

    _, other = run(scene, folder, halo_px=8)
    assert len(other) > 1

    prediction.probability.unlink()
    _, missing = run(scene, folder, halo_px=8)
    assert len(missing) > 1
    assert set(hashes(folder)) == {"classes.tif", "probability.tif"}


@pytest.mark.slow
def test_maps_of_two_jobs_are_never_left_side_by_side(scene, tmp_path, monkeypatch):
    """As when another job is killed between its probability and its class map."""
    from geoseg.inference import finish

    one, _ = run(scene, tmp_path / "out")
    wanted = hashes(tmp_path / "out")
    whole = finish.write_cog

    def killed_before_the_class_map(source, target, *, overviews):
        if overviews == "mode":
            raise StoppedError
        whole(source, target, overviews=overviews)

    with monkeypatch.context() as patched:
        patched.setattr(finish, "write_cog", killed_before_the_class_map)
        run(scene, tmp_path / "out", segmenter=make_segmenter(seed=1))
    assert not one.classes.exists()

    run(scene, tmp_path / "out")
    assert hashes(tmp_path / "out") == wanted


def test_a_class_map_that_does_not_open_is_made_again(scene, tmp_path):
    prediction, _ = run(scene, tmp_path / "out")
    wanted = hashes(tmp_path / "out")
    prediction.classes.write_bytes(b"")

    run(scene, tmp_path / "out")

    assert hashes(tmp_path / "out") == wanted


def test_a_scene_is_the_same_by_whatever_path(scene, tmp_path, monkeypatch):
    run(scene, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    bands = {n: replace(a, path=Path(a.path.name)) for n, a in scene.bands.items()}

    _, seen = run(replace(scene, bands=bands), tmp_path / "out")

    assert len(seen) == 1


def test_a_strip_that_is_cut_short_is_not_taken_for_finished(scene, tmp_path):
    run(scene, tmp_path / "whole")
    run(scene, tmp_path / "one", stop_at=20)
    working = tmp_path / "one" / ".classes.tif.unfinished"
    # As a kill leaves it: a temporary folder with half a file in it.
    aside = working / ".strip_000004.tif.abc.part"
    aside.mkdir()
    (aside / "strip_000004.tif").write_bytes(b"II*\0")

    run(scene, tmp_path / "one")

    assert hashes(tmp_path / "one") == hashes(tmp_path / "whole")


@pytest.mark.slow
def test_what_a_kill_at_the_very_end_leaves_is_put_in_order(scene, tmp_path):
    run(scene, tmp_path / "whole")
    folder = tmp_path / "one"
    run(scene, folder, stop_at=30)
    # Half of a working folder and half of a map.
    working = folder / ".classes.tif.unfinished"
    (working / "job").unlink()
    (working / "strip_000000.tif").unlink()
    (folder / ".classes.tif.abc.part").mkdir()
    run(scene, folder)
    assert hashes(folder) == hashes(tmp_path / "whole")
    assert sorted(p.name for p in folder.iterdir()) == [
        "SHA256SUMS",
        "classes.tif",
        "probability.tif",
    ]

    # All maps, and no sums of them yet.
    (folder / "SHA256SUMS").unlink()
    working.mkdir()
    (working / "strip_000001.tif").touch()
    run(scene, folder)
    assert (folder / "SHA256SUMS").read_text() == (tmp_path / "whole" / "SHA256SUMS").read_text()
    assert not working.exists()


@pytest.mark.slow
def test_a_second_run_on_the_same_maps_is_told_who_writes_them(
    scene, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("geoseg.inference.parts._PATIENCE_S", 2.5)

    def second(done, _total):
        if done == 3:
            told = f"{tmp_path / 'one'} is held by pid {os.getpid()} on host"
            with pytest.raises(OutputError, match=re.escape(told)):
                run(scene, tmp_path / "one")

    run(scene, tmp_path / "one", on_tile=second)

    assert f"Waiting until {tmp_path / 'one'} is let go of" in caplog.text
    assert set(hashes(tmp_path / "one")) == {"classes.tif", "probability.tif"}


def test_a_run_that_waited_for_one_that_ended_is_to_run_again(tmp_path, monkeypatch):
    working = tmp_path / "maps" / "working"
    first = contextlib.ExitStack()
    first.enter_context(open_parts(working, "job"))
    monkeypatch.setattr("geoseg.scale.lock.time.sleep", lambda _: first.close())

    with (
        pytest.raises(OutputError, match=r"maps was just written by another run; run again\."),
        open_parts(working, "job"),
    ):
        pass

    assert not working.exists()


def _map_and_die(scene, folder, at):
    torch.set_num_threads(1)
    run(scene, folder, on_tile=lambda n, _: os.kill(os.getpid(), signal.SIGKILL) if n == at else 0)


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_under_a_final_name(scene, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(scene, tmp_path / "whole")
        for at in (2, 17, 30):
            folder = tmp_path / f"killed{at}"
            process = multiprocessing.get_context("spawn").Process(
                target=_map_and_die, args=(scene, folder, at)
            )
            process.start()
            process.join()
            assert process.exitcode == -signal.SIGKILL
            assert hashes(folder) == {}

            run(scene, folder)

            assert hashes(folder) == hashes(tmp_path / "whole")
    finally:
        torch.set_num_threads(threads)


def test_the_number_of_tiles_at_once_does_not_change_the_map(scene, tmp_path):
    one, _ = run(scene, tmp_path / "one")
    many, _ = run(scene, tmp_path / "many", batch=13)

    for a, b in ((one.classes, many.classes), (one.probability, many.probability)):
        with rasterio.open(a) as first, rasterio.open(b) as second:
            np.testing.assert_array_equal(first.read(), second.read())
