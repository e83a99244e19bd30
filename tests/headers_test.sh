#!/bin/sh
# headers_test.sh TOP VERSION CC CXX
# The public header compiles alone, as strict C11 and as C++17, and twice in one file; its version is the project's.
# Each internal header compiles alone too: as C, and those that the C++ tests may include as C++ also.
set -u
top=$1 version=$2 cc=$3 cxx=$4
failed=0
file=$(mktemp) || exit 1
trap 'rm -f "$file"' EXIT

fail() {
  echo "FAILED: $1"
  failed=1
}

# check LABEL HEADER COMPILER... : compiles a file that includes the header twice
check() {
  label=$1
  printf '#include %s\n#include %s\n' "$2" "$2" >"$file"
  shift 2
  "$@" -fsyntax-only "$file" || fail "$label"
}

strict="-Wall -Wextra -Wconversion -Wshadow -Werror -I$top/include"
# shellcheck disable=SC2086 # the options are words
for include in '<weir.h>' '"weir.h"'; do
  check "weir.h as C11" "$include" "$cc" -x c -std=c11 -pedantic-errors -Wstrict-prototypes $strict
  check "weir.h as C++17" "$include" "$cxx" -x c++ -std=c++17 -pedantic-errors $strict
done

# shellcheck disable=SC2086
number=$(printf '#include <weir.h>\nWEIR_VERSION_MAJOR WEIR_VERSION_MINOR WEIR_VERSION_PATCH\n' |
  "$cc" -E -P -x c $strict - | tail -n 1 | tr ' ' .)
[ "$number" = "$version" ] || fail "weir.h says version $number, CMakeLists.txt $version"

count=0
for header in "$top"/ringbuf/*.h "$top"/shm/*.h "$top"/group/*.h "$top"/journal/*.h "$top"/client/*.h "$top"/daemon/*.h \
  "$top"/cli/*.h "$top"/bench/*.h; do
  [ -e "$header" ] || continue
  name=${header#"$top"/}
  case $name in daemon/* | cli/* | bench/*) languages=c ;; *) languages='c c++' ;; esac
  for language in $languages; do
    case $language in
    c) compiler="$cc -std=c11 -D_GNU_SOURCE" ;;
    *) compiler="$cxx -std=c++17" ;;
    esac
    # A static function that nobody calls is no fault of a header.
    # shellcheck disable=SC2086
    check "$name as $language" "\"$name\"" $compiler -x $language -Wall -Wextra -Wno-unused-function -Werror \
      -I"$top" -I"$top/include"
  done
  count=$((count + 1))
done
[ "$failed" -ne 0 ] || echo "weir.h and $count internal headers compile alone"
exit "$failed"
