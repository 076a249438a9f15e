"""The README's picture, from a running app: python scripts/make_screenshot.py http://127.0.0.1:8501 docs/information_flow.png"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

address, target = sys.argv[1], Path(sys.argv[2])
target.parent.mkdir(exist_ok=True)
with sync_playwright() as playwright:
    chromium = shutil.which("chromium") or shutil.which("chromium-headless-shell")
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(address)
    page.wait_for_selector('[data-testid="stVegaLiteChart"] :is(canvas, svg)', timeout=90_000)
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    page.wait_for_timeout(1500)
    page.screenshot(path=target)
    browser.close()
