#!/bin/sh
# fan_out.sh PROGRAM: each reader got every message.
set -eu
"$1" >got
for _ in 1 2 3; do
  echo '100000 messages, sum 5000050000'
done | diff -u - got
