#!/bin/sh
# in_place.sh PROGRAM: blocks arrive as they were made; number 0 had no samples and was cancelled.
set -eu
cat >expected <<END
block 1: 1021 samples, sum 4587
block 2: 2042 samples, sum 11225
block 3: 3063 samples, sum 19906
block 4: 4084 samples, sum 30622
END
"$1" | diff -u expected -
