#!/bin/sh
# The tools that benchmarks/inference.py measures geoseg beside, each in a virtual environment of its
# own, for they do not agree on their dependencies (ftw-tools 1.4 and geoai 0.40 on pyarrow).
#
#     benchmarks/peers/setup.sh [torchgeo] [ftw] [geoai] [rastervision]
#
# All of them when none is named. A small build of torch for the CPU is taken where the package index
# has one, for example with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu.
set -eu

PYTHON=${PYTHON:-python3}
TORCH=${TORCH:-torch==2.13.0 torchvision==0.28.0}
cd "$(dirname "$0")"

packages() {
    case $1 in
    # It imports requests without asking for it.
    torchgeo) echo "torchgeo==0.8.0 requests==2.32.5" ;;
    # It takes the bounds of torchgeo's samples for boxes, which they were up to 0.7.
    ftw) echo "ftw-tools==1.4.3 torchgeo==0.7.2 requests==2.32.5" ;;
    geoai) echo "geoai-py==0.40.0" ;;
    rastervision) echo "rastervision_core==0.31.1 rastervision_pytorch_learner==0.31.1" ;;
    *)
        echo "no peer named $1; known: torchgeo, ftw, geoai, rastervision" >&2
        return 1
        ;;
    esac
}

for peer in "${@:-torchgeo ftw geoai rastervision}"; do
    for name in $peer; do
        wanted=$(packages "$name")
        "$PYTHON" -m venv ".venv-$name"
        # shellcheck disable=SC2086  # a list of packages
        ".venv-$name/bin/pip" install --quiet $TORCH $wanted || echo "$name: left out" >&2
    done
done
