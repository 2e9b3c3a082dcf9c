#!/usr/bin/env bash
# Install, where missing and possible, what some tests need of Debian: Chromium, which opens the report page. Where it cannot be
# installed those tests are skipped, visibly, and this says so; it never fails.
set -uo pipefail
browsers=(chromium chromium-browser google-chrome google-chrome-stable)
for browser in "${browsers[@]}"; do
  if command -v "$browser" >/dev/null; then exit 0; fi
done
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)
if command -v apt-get >/dev/null && "${as_root[@]}" apt-get update -qq >/dev/null 2>&1 &&
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -qq -y --no-install-recommends chromium >/dev/null 2>&1; then
  echo "chromium installed"
else
  echo "chromium could not be installed: the tests that open the report page in a browser will be skipped"
fi
exit 0
