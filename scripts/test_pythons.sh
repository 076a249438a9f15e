#!/usr/bin/env bash
# The fast tests on the oldest and on the newest Python (3.11 or later) of this machine: scripts/test_pythons.sh [VERSION ...]
set -euo pipefail
cd "$(dirname "$0")/.."

found() {  # "3.12 /path/to/python3.12", one a line, the oldest first
    shopt -s nullglob
    for candidate in $(compgen -c python3. | grep -E '^python3\.[0-9]+$' | sort -u) "$HOME"/.pyenv/versions/3.*/bin/python; do
        "$candidate" -c 'import sys; v = sys.version_info
if v >= (3, 11): print(f"{v[0]}.{v[1]}", sys.executable)' 2>/dev/null || true
    done | sort -t. -k2,2n -u -k1,1
}

all="$(found)"
if [ $# -gt 0 ]; then
    chosen="$(for version in "$@"; do grep "^$version " <<<"$all" | head -1; done)"
else
    chosen="$(printf '%s\n' "$(head -1 <<<"$all")" "$(tail -1 <<<"$all")" | sort -u)"
fi
[ -n "$chosen" ] || { echo "No Python 3.11 or later was found." >&2; exit 1; }
while read -r version python; do
    echo "== Python $version ($python)"
    place=".venv-$version"
    [ -x "$place/bin/python" ] || "$python" -m venv "$place"
    "$place/bin/python" -m pip install --quiet -r requirements-dev.txt
    "$place/bin/python" -m pytest -m "not slow and not browser" -p no:cacheprovider
done <<<"$chosen"
