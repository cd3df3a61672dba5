#!/bin/sh
# Makes sure that there is a Chromium for the browser tests: one that is here, the system's package, or Playwright's own.
set -eu
python=$1
if "$python" -c 'from tests.browser.chromium import find; raise SystemExit(find() is None)'; then
    exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "Installing Chromium from the system's packages ..."
    apt-get update -qq >/dev/null
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null 2>&1 ||
        apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
    echo "Installing Playwright's Chromium ..."
    "$python" -m playwright install chromium
fi
