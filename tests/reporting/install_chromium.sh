#!/usr/bin/env bash
# Installs Debian's Chromium for the tests of the report's page, if it is not there: as root, from Debian's packages.
set -euo pipefail
command -v chromium >/dev/null && exit 0
command -v apt-get >/dev/null || { echo "no apt-get here"; exit 1; }
[ "$(id -u)" = 0 ] || { echo "not root"; exit 1; }
exec 9>/tmp/qcmap-install-chromium.lock
flock 9 # another worker may be at it
command -v chromium >/dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 -qq update
apt-get -o DPkg::Lock::Timeout=300 -qq install --yes --no-install-recommends chromium >/dev/null
