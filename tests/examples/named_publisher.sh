#!/bin/sh
# named_publisher.sh PROGRAM: killed in the middle and started again with the same input, it publishes each line once.
set -eu
weir=$WEIR_BIN/weir
publisher=
trap '[ -z "$publisher" ] || kill -9 "$publisher" 2>/dev/null || true' EXIT

seq 1000 >lines
"$weir" ring create numbers --memory
mkfifo pipe
"$1" numbers counter <pipe &
publisher=$!
exec 3>pipe
head -n 400 lines >&3
"$weir" sub numbers --count 400 >/dev/null # now all of them are there, and it waits for more
kill -9 "$publisher"
wait "$publisher" || [ $? -eq 137 ]
publisher=
exec 3>&-

{
  "$1" numbers counter <lines
  "$1" numbers counter <lines
} >got
cat >expected <<END
went on behind line 400, published 600
went on behind line 1000, published 0
END
diff -u expected got
"$weir" sub numbers --count 1000 | diff -u lines -
[ -z "$("$weir" sub numbers --from end --timeout 0)" ]
