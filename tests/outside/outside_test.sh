#!/bin/sh
# outside_test.sh BUILD-DIR CMAKE CC LIBDIR
# Installs the build under a prefix, moves the prefix (an installed weir is relocatable) and builds outside projects
# against it: by pkg-config and by find_package, with the shared and with the static library.
set -eu
build=$1 cmake=$2 cc=$3 libdir=$4
here=$(cd "$(dirname "$0")" && pwd)
tmp=$WEIR_TEST_DIR

echo "-- install"
"$cmake" --install "$build" --prefix "$tmp/stage" >"$tmp/install.log" || { cat "$tmp/install.log"; exit 1; }
for file in LICENSE README.md CHANGELOG.md docs/guarantees.md examples/hello.c; do
  [ -s "$tmp/stage/share/doc/weir/$file" ] || { echo "FAILED: $file is not installed"; exit 1; }
done
[ -s "$tmp/stage/lib/sysusers.d/weir.conf" ] || { echo 'FAILED: sysusers.d/weir.conf is not installed'; exit 1; }
unit=$tmp/stage/lib/systemd/system/weird.service
grep -q "^ExecStart=$tmp/stage/bin/weird --config $tmp/stage/etc/weir/weird.conf" "$unit" || { echo "FAILED: $unit does not start what is installed"; exit 1; }
if [ -x "$tmp/stage/bin/weird" ] && command -v systemd-analyze >/dev/null 2>&1; then
  systemd-analyze verify --man=no "$unit"
fi
# A configuration that is there already stays.
echo '[ring]' >"$tmp/stage/etc/weir/weird.conf"
"$cmake" --install "$build" --prefix "$tmp/stage" >"$tmp/install.log" || { cat "$tmp/install.log"; exit 1; }
[ "$(cat "$tmp/stage/etc/weir/weird.conf")" = '[ring]' ] || { echo 'FAILED: weird.conf was overwritten'; exit 1; }
cmp "$tmp/stage/share/doc/weir/weird.conf" "$here/../../packaging/weird.conf"
mv "$tmp/stage" "$tmp/moved"
prefix=$tmp/moved
lib=$prefix/$libdir
if grep -rlF "$tmp/stage" "$prefix/include" "$lib/pkgconfig" "$lib/cmake"; then
  echo "FAILED: the files above name the prefix that they were installed to"
  exit 1
fi

echo "-- pkg-config"
PKG_CONFIG_PATH=$lib/pkgconfig
export PKG_CONFIG_PATH
version=$(sed -n 's/^Version: //p' "$lib/pkgconfig/weir.pc")
pkg-config --exact-version="$version" weir
case $version in
0.*) soversion=${version%.*} ;; # a minor version may change the API
*) soversion=${version%%.*} ;;
esac
[ "$(readlink "$lib/libweir.so.$soversion")" ] || { echo "FAILED: there is no libweir.so.$soversion"; exit 1; }
# shellcheck disable=SC2046 # the flags are words
"$cc" -o "$tmp/pc-shared" "$here/main.c" $(pkg-config --cflags --libs weir)
LD_LIBRARY_PATH=$lib "$tmp/pc-shared"
# shellcheck disable=SC2046
"$cc" -static -o "$tmp/pc-static" "$here/main.c" $(pkg-config --static --cflags --libs weir)
"$tmp/pc-static"

echo "-- find_package"
build_outside() {
  "$cmake" -S "$here/cmake" -B "$tmp/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" &&
    "$cmake" --build "$tmp/build"
}
build_outside >"$tmp/cmake.log" 2>&1 || { cat "$tmp/cmake.log"; exit 1; }
"$tmp/build/outside_shared"
"$tmp/build/outside_static"

echo "-- programs"
for program in weir weird; do
  [ -x "$prefix/bin/$program" ] || continue
  "$prefix/bin/$program" --version
done
