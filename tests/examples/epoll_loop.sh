#!/bin/sh
# epoll_loop.sh PROGRAM: everything of two rings and of its input, each in its order, also what came before it started.
set -eu
weir=$WEIR_BIN/weir
loop=
trap '[ -z "$loop" ] || kill -9 "$loop" 2>/dev/null || true' EXIT

"$weir" ring create odd --memory
"$weir" ring create even --memory
seq 1 2 999 | "$weir" pub odd
mkfifo input output
"$1" odd even <input >output &
loop=$!
exec 3>input 4<output
seq 2 2 1000 | "$weir" pub even
# Each line is answered while the loop has nothing else to do.
for _ in $(seq 1000); do
  read -r line <&4
  echo "$line"
done >got
for word in some words; do
  echo "$word" >&3
  read -r line <&4
  echo "$line"
  echo "$word" | "$weir" pub odd
  read -r line <&4
  echo "$line"
done >>got
exec 3>&-
wait "$loop"
loop=

{ seq 1 2 999; echo some; echo words; } | sed 's/^/odd: /' >expected
sed -n '/^odd/p' got | diff -u expected -
seq 2 2 1000 | sed 's/^/even: /' | diff -u - /dev/fd/5 5<<END
$(sed -n '/^even/p' got)
END
[ "$(tail -n 4 got)" = "input: some
odd: some
input: words
odd: words" ]
