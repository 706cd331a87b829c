#!/usr/bin/env bash
# Make .venv and install what constraints.txt pins. Called by make; says what is missing where something is.
set -uo pipefail
cd "$(dirname "$0")"
readonly NEEDED_MB=3500

fail() {
    printf 'set-up: %s\n' "$*" >&2
    exit 1
}

suits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

if [ ! -x .venv/bin/python ]; then
    python=""
    for candidate in "${1:-python3}" python3.13 python3.12 python3.11 python; do
        if suits "$candidate"; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || fail "Python 3.11, 3.12 or 3.13 is needed; ${1:-python3} is $("${1:-python3}" --version 2>&1 | head -n 1). Install one, or name one: make PYTHON=/path/to/python3.12"
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$python has no venv module. On Debian and Ubuntu: apt install python3-venv"
    free=$(df -Pm . | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$NEEDED_MB" ] || fail "$free MB are free on this disk, about $NEEDED_MB MB are needed"
    "$python" -m venv .venv || fail "$python could not make .venv; the lines above say why"
elif ! suits .venv/bin/python; then
    fail ".venv holds $(.venv/bin/python --version 2>&1 | head -n 1), not 3.11 to 3.13; delete .venv and run make again"
fi

echo "Installing into .venv; this happens once and takes a few minutes."
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --requirement requirements.txt --editable '.[test]' || {
    free=$(df -Pm . | awk 'NR == 2 { print $4 }')
    [ "$free" -ge 100 ] || fail "the disk is full ($free MB free); make room, about $NEEDED_MB MB in all, and run make again"
    fail "the installation failed; the lines above say why. If the package index was out of reach, run make again when it is back"
}
