"""A module that workers cannot import when the environment says so."""

import os

if "SCALE_IS_BROKEN" in os.environ:
    raise SystemExit(7)


def work(task):
    return task.number
