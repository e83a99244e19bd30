#!/bin/sh
# worker.sh PROGRAM: two workers share what there is; what one gave back comes again, and so does what one took ahead.
set -eu
weir=$WEIR_BIN/weir
"$weir" ring create jobs --memory
{
  seq 1 40
  echo fail once
} | "$weir" pub jobs
"$1" jobs workers 1 >first
"$1" jobs workers >one &
one=$!
"$1" jobs workers >two
wait "$one"
sort first one two >got
{
  seq 1 40 | sed 's/$/, attempt 1/'
  echo 'fail once, attempt 3'
} | sort >expected
diff -u expected got
"$weir" group info jobs workers --json | grep -q '"lag_bytes":0'
