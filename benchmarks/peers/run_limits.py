"""Limits: the network alone on tiles in memory, without and with the class of each pixel."""

from __future__ import annotations

import json
import os
import sys

import job
import torch


def main() -> None:
    """Run as many pixels as the command line says; print what both took as JSON."""
    tiles = int(sys.argv[1]) // job.TILE_PX**2
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    network = job.pixelwise()
    image = torch.randn(1, job.BANDS, job.TILE_PX, job.TILE_PX)
    reports = {}
    with torch.inference_mode():
        network(image).argmax(dim=1)
        spent = job.Spent()
        for _ in range(tiles):
            network(image)
        reports["forward"] = spent.report()
        spent = job.Spent()
        for _ in range(tiles):
            network(image).argmax(dim=1).to(torch.uint8)
        reports["forward and argmax"] = spent.report()
    print(json.dumps(reports))


if __name__ == "__main__":
    main()
