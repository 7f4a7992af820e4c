import os
import shlex
import subprocess

import pytest

from geoseg.errors import ConfigError
from geoseg.training import Fleet, job_script

JOB = {"queue": "gpu", "memory": "16GB", "walltime": "04:00:00", "account": "ice", "threads": 4}


def script_of(job, tmp_path, *, after=None, gpus=True, **fleet):
    made = Fleet(**{"devices": 4, "nodes": 2, "launcher": "slurm", "job": job, **fleet})
    command = ["geoseg", "train", "--out", "a folder", *made.options]
    return job_script(command, after, made, gpus=gpus, log=tmp_path / "train-%j.log")


def run_with(srun, script, tmp_path):
    """Run a job as Slurm would, with something else in the place of srun."""
    (tmp_path / "bin").mkdir()
    for name, text in {"srun": srun, "rest": "echo rest >> told"}.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, check=False, timeout=60
    )
    return done.returncode, (tmp_path / "told").read_text().splitlines()


def test_a_job_asks_for_a_task_a_device(tmp_path):
    lines = script_of(JOB, tmp_path).splitlines()

    assert {
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --gpus-per-node=4",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --partition=gpu",
        "#SBATCH --mem=16G",
        "#SBATCH --time=04:00:00",
        "#SBATCH --account=ice",
        "export OMP_NUM_THREADS=4",
        "  srun --kill-on-bad-exit=1 geoseg train --out 'a folder' --devices 4 --nodes 2 "
        "--launcher rank",
    } <= set(lines)


def test_a_job_of_processors_asks_for_no_gpu_and_lines_can_be_left_out(tmp_path):
    assert "gpus" not in script_of(JOB, tmp_path, gpus=False)
    own = {"job_directives_skip": ["--gpus"], "job_extra_directives": ["--gres=gpu:4"]}
    script = script_of(JOB | own, tmp_path)

    assert "--gpus-per-node" not in script
    assert "#SBATCH --gres=gpu:4" in script


@pytest.mark.parametrize("name", ["a run", 'one "x"', "it's #1", "100%j"])
def test_the_log_lies_in_a_folder_of_any_name(name, tmp_path):
    lines = script_of(JOB, tmp_path / name).splitlines()

    # shlex reads double quotes as sbatch does.
    (line,) = [line for line in lines if "--output" in line]
    told = shlex.split(line.removeprefix("#SBATCH "))
    assert told == [f"--output={tmp_path}/{name.replace('%', '%%')}/train-%j.log"]


@pytest.mark.parametrize("name", ["a\nb", "a\\b"])
def test_a_log_that_slurm_would_misread_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="train into a folder of another name"):
        script_of(JOB, tmp_path / name)


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ({"quue": "gpu"}, r"unknown key 'quue'\. Did you mean 'queue'"),
        ({"queue": "gpu\nrm"}, "give one word"),
        ({"memory": "16GB; true"}, "give one word"),
    ],
)
def test_a_job_that_cannot_be_is_refused(job, told, tmp_path):
    with pytest.raises(ConfigError, match=told):
        script_of(job, tmp_path)


def test_tasks_that_died_are_started_again_then_the_rest_is_done(tmp_path):
    dies_twice = 'echo "$@" >> told; [ "$(wc -l < told)" -gt 2 ]'

    code, told = run_with(dies_twice, script_of(JOB, tmp_path, after=["rest"]), tmp_path)

    assert code == 0
    assert len(told) == 4
    assert told[0].startswith("--kill-on-bad-exit=1 geoseg train --out a folder")
    assert told[-1] == "rest"


@pytest.mark.parametrize(("exit_code", "times"), [(1, 4), (2, 1)])
def test_a_job_that_fails_for_good_ends_and_wrong_use_at_once(exit_code, times, tmp_path):
    srun = f"echo tried >> told; exit {exit_code}"

    code, told = run_with(srun, script_of(JOB, tmp_path, after=["rest"]), tmp_path)

    assert (code, told) == (exit_code, ["tried"] * times)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"launcher": "slrum"}, r"no launcher named 'slrum'\. Did you mean 'slurm'"),
        ({"nodes": 2}, "add --launcher slurm"),
        ({"dry_run": True}, "--dry-run shows the job of --launcher slurm"),
        (
            {"launcher": "slurm", "job": {"job_extra_directives": ["-p gpu"]}},
            "give options of sbatch",
        ),
        ({"launcher": "slurm", "job": {"job_script_prologue": "a"}}, "give a list of single lines"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        Fleet(**settings)
