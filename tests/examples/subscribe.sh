#!/bin/sh
# subscribe.sh PROGRAM: it goes on where it stopped, after COUNT messages and after a signal alike.
set -eu
weir=$WEIR_BIN/weir
subscriber=
trap '[ -z "$subscriber" ] || kill -9 "$subscriber" 2>/dev/null || true' EXIT

"$weir" ring create lines --memory
seq 5 | "$weir" pub lines
{
  "$1" lines reader 2
  "$1" lines reader 1
} >got

# From here on it waits for more; when it has printed what there is, it is told to stop.
mkfifo pipe
"$1" lines reader >pipe &
subscriber=$!
exec 3<pipe
for _ in 4 5; do
  read -r line <&3
  echo "$line" >>got
done
kill "$subscriber"
wait "$subscriber"
subscriber=
exec 3<&-

seq 6 7 | "$weir" pub lines
"$1" lines reader 2 >>got

for number in 1 2 3 4 5 6 7; do
  echo "$((64 * (number - 1))) $number"
done >expected
diff -u expected got
