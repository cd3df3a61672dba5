#!/bin/sh
# Makes sure that there is a Chromium for the browser tests: one that is here, the system's package, or Playwright's own.
set -eu
python=$1
found() { "$python" -c 'from ravine.browser import find; raise SystemExit(find() is None)'; }
found && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "Installing Chromium from the system's packages ..."
    apt-get update -qq >/dev/null || true
    export DEBIAN_FRONTEND=noninteractive
    for package in chromium-headless-shell chromium; do
        apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 && found && exit 0
    done
    options=--with-deps # a system without such packages, or where they only point elsewhere
fi
echo "Installing Playwright's Chromium ..."
"$python" -m playwright install ${options:-} chromium || echo "Playwright could not install one."
"$python" -c 'from ravine.browser import required; required("Every test of a page in a browser")'
