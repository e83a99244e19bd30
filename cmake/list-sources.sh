#!/bin/sh
# list-sources.sh TOP: prints, zero-terminated, each C and C++ file of weir.
cd "$1" || exit 1
find include client ringbuf shm group journal daemon cli bench examples tests \
  -type f \( -name '*.c' -o -name '*.h' -o -name '*.cc' -o -name '*.hh' \) -print0
