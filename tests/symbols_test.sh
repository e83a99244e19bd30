#!/bin/sh
# symbols_test.sh TOP LIBWEIR.so LIBWEIR.a RINGBUF.a NM READELF CC
#  - the shared library exports what client/weir.map lists, and that is what weir.h declares: no more, no less;
#  - the static library has the same names global, so nothing of its inside can collide with a program's own;
#  - the shared library needs libc alone;
#  - ringbuf calls nothing but a few functions of <string.h>: no system call, no malloc, no log.
set -u
top=$1 shared=$2 static=$3 ringbuf=$4 nm=$5 readelf=$6 cc=$7
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
failed=0

same() {
  if ! diff -u "$1" "$2"; then
    echo "FAILED: $3"
    failed=1
  fi
}

# The version script: names of the global parts, comments aside.
sed -e 's@/\*.*\*/@@' -e 's/#.*//' "$top/client/weir.map" | tr -s ' \t{};' '\n' | awk '
  $0 == "global:" { in_global = 1; next }
  $0 == "local:" { in_global = 0; next }
  in_global && /^[a-z_0-9]+$/ { print }' | sort >"$tmp/map"

# The header: the compiler itself says what is declared.
if printf '#include <weir.h>\n' |
  "$cc" -std=c11 -I"$top/include" -x c -fsyntax-only -aux-info "$tmp/aux" - 2>/dev/null && [ -s "$tmp/aux" ]; then
  sed -n 's@^/\* [^ ]*weir\.h:[0-9]*:N[A-Z] \*/ extern .*[ *]\(weir_[a-z0-9_]*\) (.*@\1@p' "$tmp/aux" | sort -u >"$tmp/header"
  same "$tmp/map" "$tmp/header" "client/weir.map (-) and include/weir.h (+) disagree"
else
  echo "note: $cc cannot list declarations; weir.map is not compared with weir.h"
fi

"$nm" -D --defined-only "$shared" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$tmp/exported"
same "$tmp/map" "$tmp/exported" "client/weir.map (-) and what $shared exports (+) disagree"

"$nm" -g --defined-only "$static" | awk 'NF == 3 { print $3 }' | sort >"$tmp/static"
same "$tmp/map" "$tmp/static" "client/weir.map (-) and what $static makes global (+) disagree"

"$readelf" -d "$shared" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vxE 'libc\.so\.6|ld-linux.*' >"$tmp/needed"
same /dev/null "$tmp/needed" "$shared needs more than libc"

"$nm" -g --defined-only "$ringbuf" | awk 'NF == 3 { print $3 }' | sort -u >"$tmp/own"
printf '%s\n' _GLOBAL_OFFSET_TABLE_ __assert_fail __stack_chk_fail memchr memcmp memcpy memmove memset strcmp strlen \
  strncmp strnlen | sort - "$tmp/own" >"$tmp/may"
"$nm" -u "$ringbuf" | awk '$1 == "U" { print $2 }' | sort -u | comm -23 - "$tmp/may" >"$tmp/calls"
same /dev/null "$tmp/calls" "ringbuf/ calls (+)"

[ "$failed" -ne 0 ] || echo "$(wc -l <"$tmp/map") symbols, in the map, the header and both libraries"
exit "$failed"
