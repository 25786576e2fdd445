#!/usr/bin/env bash
# Gradescope runs this once, as root, while it builds the autograder's image: Python, and the course's library.
set -euo pipefail

root=${AUTOGRADER_ROOT:-/autograder} # another one in tests

# the first that will do: new enough for the course, and able to make environments
find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if "$name" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

if ! python=$(find_python); then # as in Ubuntu 22.04, whose python3 is 3.10
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    for version in 3.13 3.12 3.11; do
        if apt-get install -y "python$version-venv"; then break; fi
    done
    python=$(find_python) || {
        echo "this image has no Python 3.11, 3.12 or 3.13: choose a newer base image in Gradescope" >&2
        exit 1
    }
fi

"$python" -m venv "$root/venv"
# pip.conf may name the package index with torch's CPU build
PIP_CONFIG_FILE=$root/source/pip.conf "$root/venv/bin/python" -m pip install \
    "$root/source/course" -c "$root/source/course/constraints.txt"

"$root/venv/bin/minipeft" list --course "$root/source/course" # what doesn't work should break here, not in a submission
