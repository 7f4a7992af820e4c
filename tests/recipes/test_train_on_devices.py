import pytest
from command_line import geoseg_here

JOB = "queue=gpu,memory=16GB,walltime=04:00:00"


def train_options(example, tmp_path):
    return (
        *("--scene", example.raster, "--sensor", "landsat-7", "--bands", "red,nir08"),
        *("--date", "2000-10-30", "--labels", example.outlines, "--class-of", "glacier"),
        *("--set", "chips.size_px=32", "--set", "training.batch=4", "--out", tmp_path / "out"),
    )


def test_a_job_is_shown_and_not_submitted(example, tmp_path):
    done = geoseg_here(
        "glacier-inventory",
        "run",
        *train_options(example, tmp_path),
        *("--devices", 2, "--nodes", 2, "--launcher", "slurm", "--slurm", JOB, "--dry-run"),
    )

    script = (tmp_path / "out" / "train.sbatch").read_text()
    assert done.returncode == 0, done.stderr
    assert script.strip() in done.stderr
    assert f"train --out {tmp_path / 'out'} --device auto --devices 2 --nodes 2" in script
    # The job does the rest of the run, and goes on with the recipe that was written here.
    assert script.splitlines()[-1].endswith(f"run --out {tmp_path / 'out'} --device auto")
    assert (tmp_path / "out" / "recipe.json").is_file()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--nodes", 2), "add --launcher slurm"),
        (("--launcher", "slurm"), "give --slurm queue=gpu"),
        (("--devices", 3), "training.batch = 4 cannot be shared alike by 3 devices; set it to 6"),
        (
            ("--launcher", "slurm", "--slurm", JOB, "--executor", "processes"),
            "maps in the job that trains",
        ),
        (
            ("--launcher", "slurm", "--slurm", JOB, "--executor", "slurm"),
            "and --executor slurm does not; leave --executor and --workers out, or",
        ),
        (("--launcher", "slurm", "--slurm", JOB, "--workers", 2), "and --executor processes does"),
    ],
)
def test_devices_that_cannot_be_are_refused(options, told, example, tmp_path):
    done = geoseg_here("glacier-inventory", "train", *train_options(example, tmp_path), *options)

    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
