#!/bin/sh
# Finds a Python that can make virtual environments, and hands over to tools/setup.py.
#
# Shell, because there may be no Python yet. As root on Debian or Ubuntu it installs what is missing;
# otherwise it prints the one command that does.
#
#   bootstrap.sh [--dev] [PYTHON]
set -eu
cd "$(dirname "$0")/.."

dev=
if [ "${1:-}" = --dev ]; then
    dev=--dev
    shift
fi
wanted=${1:-}

fits() {
    command -v "$1" >/dev/null 2>&1 && "$1" -I -c '
import sys, venv, ensurepip
sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}

find_python() {
    for name in ${wanted:-.venv/bin/python python3 python3.13 python3.12 python3.11}; do
        if fits "$name"; then
            echo "$name"
            return
        fi
    done
}

# The packages to install: the distribution's own Python, or a newer one where that is too old.
missing_packages() {
    if command -v python3 >/dev/null && ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'
    then
        for version in 3.13 3.12 3.11; do
            if apt-cache show "python$version-venv" >/dev/null 2>&1; then
                echo "python$version-venv"
                return
            fi
        done
    fi
    echo python3-venv
}

python=$(find_python)
if [ -z "$python" ] && [ -n "$wanted" ]; then
    echo "PYTHON=$wanted is not a Python 3.11, 3.12 or 3.13 with the venv module." >&2
    exit 1
fi
if [ -z "$python" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "Python 3.11, 3.12 or 3.13 is missing. Install one, then: make setup PYTHON=/path/to/it" >&2
        exit 1
    fi
    if [ "$(id -u)" != 0 ]; then
        echo "Python 3.11 or newer with its venv module is missing. Install it, then try again:" >&2
        echo "    sudo apt-get install -y $(missing_packages)" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2046  # One word each.
    apt-get install -y -q --no-install-recommends $(missing_packages)
    python=$(find_python)
fi
if [ -z "$python" ]; then
    echo "This system has no Python 3.11, 3.12 or 3.13. Install one, then: make setup PYTHON=/path/to/it" >&2
    exit 1
fi
# shellcheck disable=SC2086  # Empty means no argument.
exec "$python" -I tools/setup.py $dev
