#!/usr/bin/env bash
# Run by Gradescope once, as root: what the grader needs. Choose an Ubuntu whose Python is 3.11 or newer, such as 24.04;
# on an older one Python 3.11 is installed beside its own.
set -euo pipefail
home=${AUTOGRADER:-/autograder}

export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -qy install --no-install-recommends bubblewrap python3 python3-venv
python=python3
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    apt-get -qy install --no-install-recommends python3.11 python3.11-venv
    python=python3.11
fi
"$python" -m venv "$home/venv"
"$home/venv/bin/python" -m pip install --quiet "numpy>=2.0" tqdm
