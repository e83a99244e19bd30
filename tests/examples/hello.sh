#!/bin/sh
# hello.sh PROGRAM: the program of README.md says what README.md says that it says.
set -eu
[ "$("$1")" = 'buy 100 at position 0' ]
