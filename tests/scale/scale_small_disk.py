"""Loaded by a Dask worker: it writes no file of more than a few bytes, as on a full disk."""

import resource

_BYTES = 64  # the line of a log, no output


def dask_setup(_worker):
    resource.setrlimit(resource.RLIMIT_FSIZE, (_BYTES, resource.RLIM_INFINITY))
