import subprocess
import sys

import pytest

from geoseg.errors import ConfigError
from geoseg.scale import Engine, engine
from geoseg.scale.engine import seconds_of


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "proceses"}, "no engine 'proceses'. Did you mean 'processes'? Known: dask,"),
        ({"workers": 0}, "Engine has workers = 0; give 1 or more."),
        ({"threads": 0}, "Engine has threads = 0; give 1 or more."),
        ({"workers": 2}, "A serial engine has no 2 workers; use processes."),
        ({"address": "tcp://a:1"}, "A serial engine takes no address and no slurm; use dask."),
        (
            {"kind": "dask", "address": "tcp://a:1", "slurm": {"memory": "1GB"}},
            "Give the engine an address or slurm, not both.",
        ),
        ({"kind": "dask", "slurm": {}}, "slurm has no memory; give that of one worker"),
        *(
            (
                {"kind": "dask", "slurm": {"memory": memory}},
                f"slurm has memory = {memory!r}; give that of one worker, such as 8GB.",
            )
            for memory in ("banana", "", None, ["8GB"], "-1GB", "16", float("inf"), 0)
        ),
        (
            {"kind": "dask", "slurm": {"memory": "1GB", "walltme": "1"}},
            "no setting 'walltme' of slurm. Did you mean 'walltime'?",
        ),
        (
            {"kind": "dask", "slurm": {"memory": "1GB", "walltime": "soon"}},
            "'soon' is no time limit of Slurm; give one such as 04:00:00.",
        ),
        *(
            (
                {"kind": "dask", "slurm": {"memory": "1GB", name: lines}},
                f"slurm has {name} = {lines!r}; give a list of single lines.",
            )
            for name, lines in (
                ("job_extra_directives", "--gres=gpu:1"),
                ("job_extra_directives", ["--gres=gpu:1\nrm -rf ."]),
                ("job_script_prologue", ["module load cuda\n"]),
                ("job_directives_skip", [1]),
            )
        ),
        *(
            (
                {"kind": "dask", "slurm": {"memory": "1GB", "job_extra_directives": [line]}},
                f"slurm has job_extra_directives with {line!r}; give options of sbatch as "
                "--option=value or --option.",
            )
            for line in (
                "",
                "gres=gpu:1",
                "--",
                "-p gpu",
                "--gres gpu:1",
                "--gres=",
                "#SBATCH -p x",
            )
        ),
    ],
)
def test_settings_that_cannot_be_used_are_told(settings, told):
    with pytest.raises(ConfigError) as refused:
        Engine(**settings)

    assert str(refused.value).startswith(told)


def test_options_of_sbatch_are_taken():
    directives = ["--exclusive", "--gres=gpu:1", '--comment="two words"']

    asked = Engine(kind="dask", slurm={"memory": "1GB", "job_extra_directives": directives})

    assert asked.slurm["job_extra_directives"] == directives


def test_dask_that_is_not_installed_is_told_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda _: None)

    with pytest.raises(ConfigError, match=r"run pip install 'distributed>=2025\.1' 'dask-job"):
        Engine(kind="dask")


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("04:00:00", 14400),
        ("2-00", 172800),
        ("2-12:30", 217800),
        ("1-00:00:01", 86401),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(walltime, seconds):
    assert seconds_of(walltime) == seconds


def test_slurm_leaves_ctrl_c_as_it_is():
    """dask_jobqueue takes it for itself as it is imported."""
    code = (
        "import signal; before = signal.getsignal(signal.SIGINT)\n"
        "from geoseg.scale.cluster import _slurm_cluster; _slurm_cluster()\n"
        "assert signal.getsignal(signal.SIGINT) is before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
