#!/usr/bin/env bash
# tests/aarch64.sh [BUILD-DIR] [TEST...]: builds weir for aarch64 with Debian's cross compiler and runs its tests under qemu, by
# hand: it takes minutes, and packages that nothing else here needs. As root on Debian it installs the compiler and qemu if
# they are missing; the libraries of that architecture go to BUILD-DIR/sysroot, and the machine's own packages stay as they are.
#
# Without TEST it runs those that need no other program of weir's (LABELS and TIMEOUT of ctest do not count here).
# qemu on x86 shows that the code compiles, that its layouts, atomics and system calls are right there. It does NOT show that
# the memory orders are: translated code runs in the order of the machine below, which is x86's. See docs/memory-ordering.md.
set -eu
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${1:-$source_dir/build/aarch64}
[ $# -eq 0 ] || shift
mkdir -p "$build"
build=$(cd "$build" && pwd)
sysroot=$build/sysroot
jobs=${WEIR_JOBS:-$(nproc)}

# -- what it takes ---------------------------------------------------------------------------------------------------

missing=
for package in gcc-aarch64-linux-gnu g++-aarch64-linux-gnu qemu-user googletest; do
  dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^.i' || missing="$missing $package"
done
if [ -n "$missing" ]; then
  echo "installing:$missing"
  # shellcheck disable=SC2086 # words
  apt-get install -y --no-install-recommends $missing >"$build/apt.log" 2>&1 || { cat "$build/apt.log"; exit 77; }
fi

# Packages of the other architecture, by lists of their own: neither is added to the machine.
if [ ! -e "$sysroot/.complete" ]; then
  rm -rf "$sysroot" "$build/apt"
  mkdir -p "$sysroot" "$build/apt/lists/partial" "$build/apt/archives/partial" "$build/apt/cache"
  : >"$build/apt/status"
  other=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= -o "Dir::State=$build/apt"
    -o "Dir::State::lists=$build/apt/lists" -o "Dir::State::status=$build/apt/status"
    -o "Dir::Cache=$build/apt/cache" -o "Dir::Cache::archives=$build/apt/archives")
  { apt-get "${other[@]}" update &&
    (cd "$build/apt/archives" && apt-get "${other[@]}" download liburcu-dev liburcu8 liburing-dev liburing2 \
      libjansson-dev libjansson4 libinih-dev libinih1 libnuma-dev libnuma1); } \
    >"$build/apt.log" 2>&1 || { cat "$build/apt.log"; exit 77; }
  for package in "$build"/apt/archives/*.deb; do
    dpkg -x "$package" "$sysroot"
  done
fi
cross=(-G Ninja "-DCMAKE_TOOLCHAIN_FILE=$source_dir/cmake/aarch64-linux-gnu.cmake" "-DWEIR_SYSROOT=$sysroot")
if [ ! -e "$sysroot/.complete" ]; then
  { cmake "${cross[@]}" -S /usr/src/googletest -B "$build/googletest" -DCMAKE_BUILD_TYPE=Release -DBUILD_GMOCK=OFF \
    "-DCMAKE_INSTALL_PREFIX=$sysroot/usr" && cmake --build "$build/googletest" -j "$jobs" --target install; } \
    >"$build/googletest.log" 2>&1 || { cat "$build/googletest.log"; exit 1; }
  touch "$sysroot/.complete"
fi

# -- build -------------------------------------------------------------------------------------------------------------

if [ $# -gt 0 ]; then
  tests=("$@")
else
  mapfile -t tests < <(grep -LE '^// test: .*PROGRAMS' "$source_dir"/tests/*_test.cc | xargs -n 1 basename -s .cc)
fi
cmake "${cross[@]}" -S "$source_dir" -B "$build/weir" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWEIR_WERROR="${WEIR_WERROR:-OFF}" >"$build/cmake.log" ||
  { cat "$build/cmake.log"; exit 1; }
cmake --build "$build/weir" -j "$jobs" --target weir weir_tool weird "${tests[@]}" -- -k 0 >"$build/build.log" 2>&1 ||
  { tail -n 60 "$build/build.log"; exit 1; }
echo "built: libweir, weir, weird, ${#tests[@]} test programs"

# -- run ---------------------------------------------------------------------------------------------------------------

shm=$(mktemp -d /dev/shm/weir-aarch64.XXXXXX)
trap 'rm -rf "$shm"' EXIT
export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu WEIR_BIN=$build/weir/bin WEIR_SOURCE=$source_dir
failed=0
for name in "${tests[@]}"; do
  started=$SECONDS
  status=0
  timeout -k 5 "${WEIR_TEST_SECONDS:-300}" "$source_dir/tests/run_in_scratch.sh" "$build/scratch/$name" "$shm/$name" \
    qemu-aarch64 "$build/weir/tests/bin/$name" >"$build/$name.log" 2>&1 || status=$?
  case $status in
  0) result=passed ;;
  77) result=skipped ;;
  124 | 137) result='not over in time' failed=1 ;;
  *) result="FAILED ($status): $build/$name.log" failed=1 ;;
  esac
  printf '%-28s %5d s  %s; %s\n' "$name" $((SECONDS - started)) \
    "$(sed -nE 's/^\[  PASSED  \] ([0-9]+) tests?\.?$/\1 cases/p' "$build/$name.log" | tail -n 1)" "$result"
done
exit "$failed"
