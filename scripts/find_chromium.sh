#!/usr/bin/env bash
# Make sure that there is a Chromium for the browser tests: on PATH, else by playwright, else (root on Debian) by apt. The one
# without windows of its own is the quicker, and is taken where there is a choice.
# Usage: scripts/find_chromium.sh .venv/bin
set -u
bin=$1
for name in chromium-headless-shell chromium chromium-browser google-chrome google-chrome-stable; do
  command -v "$name" >/dev/null 2>&1 && exit 0
done
found=$("$bin/python" -c 'from playwright.sync_api import sync_playwright as s
import os
with s() as p: print(p.chromium.executable_path if os.path.exists(p.chromium.executable_path) else "")' 2>/dev/null)
[ -n "$found" ] && exit 0
echo "Looking for a Chromium for the browser tests ..." >&2
timeout 300 "$bin/python" -m playwright install chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  apt-get update -qq >/dev/null 2>&1
  for package in chromium-headless-shell chromium; do
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" fonts-noto-core >/dev/null 2>&1 && exit 0
  done
fi
exit 1
