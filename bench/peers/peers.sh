#!/bin/sh
# bench/peers/peers.sh [ARGUMENT...]: what `./run bench --peers` does when weir is built: the peers' packages, which are
# installed where they are missing, and their programs, in build/peers.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd -P) || exit 1
release=$top/build/release
build=$top/build/peers
bin=$build/bin
log=$top/build/peers.log

die() {
  echo "bench --peers: $1" >&2
  exit 1
}

logged() {
  "$@" </dev/null >"$log" 2>&1 && return 0
  cat "$log" >&2
  die "failed: $* (log: $log)"
}

configure() {
  logged cmake -G Ninja -S "$top/bench/peers" -B "$build" -DWEIR_LIB="$release/lib"
}

installed() {
  case $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) in ?i*) return 0 ;; *) return 1 ;; esac
}

# Packages of servers would start them: policy-rc.d says no, and where systemd runs they are not started at boot either.
install_peers() {
  sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap '$sudo rm -f $policy' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null && $sudo chmod 755 $policy
  fi
  logged $sudo apt-get update
  for package in "$@"; do
    installed "$package" && continue
    echo "installing $package" >&2
    if $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" \
      </dev/null >"$log" 2>&1; then
      [ ! -d /run/systemd/system ] || $sudo systemctl disable --now "$package" epmd.socket >/dev/null 2>&1
    else
      echo "$package $(grep '^E:' "$log" | head -n 1)" >>"$bin/not-installed"
    fi
  done
}

mkdir -p "$bin" || exit 1
"$top/packaging/install-packages.sh" peers || exit 1
configure
ninja -C "$build" -n weir-peers 2>/dev/null | grep -q 'no work to do' || echo "building weir-peers (log: $log)" >&2
logged cmake --build "$build" --target weir-peers
for argument in "$@"; do
  case $argument in --help | -h | --list | --report | --report=*) exec "$bin/weir-peers" --top "$top" "$@" ;; esac
done

wanted=$("$bin/weir-peers" --packages "$@") || exit
: >"$bin/not-installed"
missing=
for package in $(echo "$wanted" | cut -s -d ' ' -f 2- | tr ' ' '\n' | sort -u); do
  installed "$package" || missing="$missing $package"
done
if [ -n "$missing" ]; then
  if command -v apt-get >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # a list of words
    (install_peers $missing) || exit
  else
    for package in $missing; do
      echo "$package is not installed, and there is no apt-get" >>"$bin/not-installed"
    done
  fi
fi
configure
logged cmake --build "$build"
{
  "$release/bin/weir" --version
  git -C "$top" describe --always --dirty 2>/dev/null
} | tr '\n' ' ' | sed 's/ $//' >"$bin/weir-version"
exec "$bin/weir-peers" --programs "$bin" --weird "$release/bin/weird" --top "$top" "$@"
