#!/bin/sh
# install-packages.sh GROUP…: installs what is missing of packages.txt. Never removes a package: when apt would have to, it
# stops and names what stands in the way.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
wanted=$(for group in "$@"; do
  awk -v want="[$group]" '/^\[/ { on = ($0 == want); next } /^#/ || !NF { next } on' "$here/packages.txt"
done | sort -u)
missing=
for package in $wanted; do
  case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) in
    installed) ;;
    *)
      # A virtual or replaced package may be there under another name: node from elsewhere serves as nodejs.
      if [ "$package" = nodejs ] && command -v node >/dev/null 2>&1; then continue; fi
      missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "missing packages:$missing" >&2
  echo "run as root: apt-get install -y --no-install-recommends$missing" >&2
  exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086  # a list of words on purpose
if ! apt-get -s --no-install-recommends --no-remove install $missing >"$log" 2>&1; then
  apt-get -qq update
  if ! apt-get -s --no-install-recommends --no-remove install $missing >"$log" 2>&1; then
    if grep -q 'REMOVED' "$log"; then
      blocker=$(awk '/REMOVED/ { on = 1; next } on && /^ / { print $1; exit }' "$log")
      echo "apt would have to remove ${blocker:-a package}; if you do not need it: apt-get remove ${blocker:-PACKAGE}" >&2
    else
      grep -E '^E:' "$log" >&2 || cat "$log" >&2
    fi
    exit 1
  fi
fi
# shellcheck disable=SC2086
apt-get -y -qq --no-install-recommends --no-remove install $missing >"$log" 2>&1 || {
  apt-get -qq update && apt-get -y -qq --no-install-recommends --no-remove install $missing >"$log" 2>&1; } || { tail -20 "$log" >&2; exit 1; }
