"""Work that worker processes import: light, with a log outside of the output folder."""

import errno
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import OutputError, SceneError
from geoseg.files import write_text, writing
from geoseg.scale import Unit, inputs_hash
from geoseg.scale.lock import holding


@dataclass(frozen=True)
class Task:
    number: int
    output: Path
    log: Path
    takes_s: float = 0.0
    poison: tuple[int, ...] = ()  # kill their worker always
    frail: tuple[int, ...] = ()  # kill their worker at the first attempt
    text: str = "made"


def wait_until(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def make_units(folder, log, count, *, changed=(), **extra):
    log.mkdir(exist_ok=True)
    for number in range(count):
        name = f"shard={number:06d}"
        output = folder / name / "part.txt"
        text = "changed" if number in changed else "made"
        task = Task(number, output, log, text=text, **extra)
        yield Unit(name, task, output, inputs_hash({"number": number, "text": text}))


def begun(log):
    """The numbers of units in the order in which they were begun, and by which process."""
    lines = [line.split() for path in log.glob("*.log") for line in path.read_text().splitlines()]
    return [(int(number), int(pid)) for _, number, pid in sorted(lines)]


def _tell(task):
    tries = sum(number == task.number for number, _ in begun(task.log))
    with (task.log / f"{task.number}.log").open("a") as file:
        file.write(f"{time.time_ns()} {task.number} {os.getpid()}\n")
    return tries


def make(task):
    tries = _tell(task)
    # Half of the file is there when the worker dies.
    with writing(task.output) as aside:
        aside.write_text(task.text[:2])
        time.sleep(task.takes_s)
        if task.number in task.poison or (task.number in task.frail and tries == 0):
            os.kill(os.getpid(), signal.SIGKILL)
        aside.write_text(f"{task.text} {task.number}")
    return {"number": task.number}


def refuse_odd(task):
    if task.number % 2:
        raise SceneError(f"scene {task.number} has no red band.")
    return make(task)


def stumble_twice(task):
    if _tell(task) < 2:
        raise PermissionError("the network disk is away")
    write_text(task.output, "made at last")
    return {"number": task.number}


def find_disk_full(task):
    _tell(task)
    try:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise OutputError(f"{task.output} could not be written.") from error


def fill_one_disk(task):
    """Fails at once in the first process that takes a unit up."""
    first = task.log / "first"
    with suppress(FileExistsError), first.open("x") as file:
        file.write(str(os.getpid()))
    if first.read_text() == str(os.getpid()):
        return find_disk_full(task)
    return make(task)


def hold_and_make(task):
    with holding(task.output.parent.parent / "unit.lock", patience_s=0.1):
        return make(task)


def write_much(task):
    write_text(task.output, "much " * 100)
    return {"pid": os.getpid()}


def will_not_leave(task):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return make(task)


def tell_threads(task):
    write_text(task.output, "")
    return {"omp": os.environ.get("OMP_NUM_THREADS"), "mkl": os.environ.get("MKL_NUM_THREADS")}


def write_nothing(task):
    return task.number
