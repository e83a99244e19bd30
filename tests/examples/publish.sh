#!/bin/sh
# publish.sh PROGRAM: what it sends is on disk when it ends, and others read it.
set -eu
"$WEIR_BIN/weird" --journal "$PWD/journal" &
weird=$!
trap 'kill "$weird" 2>/dev/null || true; wait' EXIT

cat >expected <<END
3 messages are durable, the last one at position 128
first

third, without a newline
0 messages are durable, the last one at position 0
END
{
  printf 'first\n\nthird, without a newline' | "$1" lines
  "$WEIR_BIN/weir" sub lines --count 3
  "$1" lines </dev/null
} >got
diff -u expected got
