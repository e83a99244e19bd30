#!/bin/sh
# install-packages.sh GROUP...: installs the Debian packages of these groups (file `packages`) that are missing, and says
# which. Elsewhere than on Debian and its children it does nothing: there the packages are the reader's to install.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1 || exit 0

missing=
while read -r group package _; do
  case $group in '' | '#'*) continue ;; esac
  case " $* " in *" $group "*) ;; *) continue ;; esac
  case $(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null) in
  ?i*) ;;
  *) missing="$missing $package" ;;
  esac
done <"$here/packages"
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    echo "missing packages; as root: apt-get install$missing" >&2
    exit 1
  fi
  sudo=sudo
fi
echo "installing packages:$missing" >&2

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
apt() {
  # shellcheck disable=SC2086 # lists of words
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get "$@" </dev/null >"$log" 2>&1 || { cat "$log" >&2; return 1; }
}
apt update || echo "apt-get update failed; trying with the lists at hand" >&2
# shellcheck disable=SC2086
apt install -y --no-install-recommends $missing
