import json

import pandas as pd
import pytest
from command_line import geoseg, geoseg_here

SMALL = [
    *("--data", "simulated", "--set", "places=120", "--set", "ratio=6"),
    *("--set", "simulation.seeds=1", "--set", "simulation.rounds=2", "--set", "simulation.batch=8"),
    *("--set", "simulation.starts=2", "--set", "round.items=12"),
]


def figures_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_labelling_is_simulated_and_then_begun_in_the_same_folder(tmp_path):
    out = tmp_path / "out"

    simulated = figures_of(
        geoseg("active-labelling", "run", *SMALL, "--simulate", "--out", out, "--json")
    )
    begun = figures_of(geoseg_here("active-labelling", "run", *SMALL, "--out", out, "--json"))

    assert set(simulated["strategies"]) == {"random", "mixture"}
    assert simulated["strategies"]["mixture"]["last"]["labels"] == 2 + 2 * 8
    curves = pd.read_csv(out / "simulation" / "curves.csv")
    assert curves["labels"].tolist() == [2, 10, 18] * 2
    assert (out / "simulation" / "curves.png").read_bytes().startswith(b"\x89PNG")
    truth = pd.read_csv(out / "truth.csv", keep_default_na=False)
    for part in ("test", ""):
        classes = truth.loc[truth["part"] == part, "class"].value_counts()
        assert classes["present"] == classes["absent"] // 6
    assert begun["round"] == 1
    assert begun["proposed"] == 12
    assert begun["why"]["audit"] == 2

    before = {p: p.read_bytes() for p in out.rglob("*") if p.suffix in {".tar", ".json", ".csv"}}
    other = geoseg_here("active-labelling", "run", *SMALL, "--set", "seed=1", "--out", out)
    assert other.returncode == 2
    assert f"{out} holds places of another recipe (seed); name another" in other.stderr
    assert {p: p.read_bytes() for p in before} == before


def test_data_that_there_is_none_of_is_told(tmp_path):
    done = geoseg_here("active-labelling", "run", "--data", "rts", "--out", tmp_path)

    assert done.returncode == 2
    assert "no places of data 'rts'. Did you mean 'rts-chips'?" in done.stderr
