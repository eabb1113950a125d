#!/bin/sh
# Installs the desktop programs that tests/test_topcat.py, test_aladin.py and test_browser.py drive (Debian, Ubuntu):
# TOPCAT and STILTS, Aladin, the JSAMP hub, an X server without a screen, a JDK for the tests' agent, Chromium; where
# npm is there, Aladin Lite.
# What is there already is left alone. Needs root; 300 MB to download at most.
set -eu

wanted=""
have() { command -v "$1" >/dev/null 2>&1; }
have topcat || wanted="$wanted topcat"
have stilts || wanted="$wanted stilts"
test -e /usr/share/java/aladin.jar || wanted="$wanted aladin"
test -e /usr/share/java/jsamp.jar || wanted="$wanted jsamp"
have Xvfb || wanted="$wanted xvfb"
have javac || wanted="$wanted default-jdk-headless"
have chromium || wanted="$wanted chromium"
test -n "$(find /usr/share/fonts -name 'DejaVuSans.ttf' 2>/dev/null | head -n 1)" || wanted="$wanted fonts-dejavu-core"

if [ -n "$wanted" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086  # a list of packages
    apt-get install -q -y --no-install-recommends $wanted
fi

if have npm && [ ! -d "$(npm root -g)/aladin-lite" ]; then
    # Not every site lets npm's registry through.
    npm install -g --no-fund --no-audit aladin-lite@3.8.2 || echo "no Aladin Lite; its test is skipped" >&2
fi

for program in topcat stilts Xvfb javac chromium; do
    have "$program" || { echo "$program is still missing" >&2; exit 1; }
done
for jar in aladin jsamp; do
    test -e "/usr/share/java/$jar.jar" || { echo "$jar.jar is still missing" >&2; exit 1; }
done
echo "desktop programs are there"
