"""Loaded by a Dask worker: its clock is a day ahead."""

import time


def dask_setup(_worker):
    right = time.time
    time.time = lambda: right() + 86400
