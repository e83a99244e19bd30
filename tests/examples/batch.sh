#!/bin/sh
# batch.sh PROGRAM: what was taken was given.
set -eu
"$1" | tee got
tail -n 1 got | grep -qx 'sum: 0'
[ "$(grep -c '^account [0-3]: -\{0,1\}[0-9][0-9]*$' got)" -eq 4 ]
