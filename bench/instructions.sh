#!/usr/bin/env bash
# bench/instructions.sh BUILD_DIR: instructions for one message of 48 bytes, sent and taken in one thread on a ring in
# memory, counted by callgrind. Needs valgrind and a compiler; the figures depend on the compiler, not on the load.
set -euo pipefail
build=${1:?usage: bench/instructions.sh BUILD_DIR, for example build/release}
source=$(cd "$(dirname "$0")/.." && pwd)
messages=20000
work=$(mktemp -d)
bus=$(mktemp -d /dev/shm/weir-instructions-XXXXXX)
trap 'rm -rf "$work" "$bus"' EXIT

cat >"$work/one.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <weir.h>
/* one BUS EXCLUSIVE MESSAGES */
int main(int argc, char **argv)
{
    struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
    struct weir_message message;
    struct weir_pub *pub;
    struct weir_sub *sub;
    char body[48] = "";
    if (argc != 4)
        return 2;
    options.journaled = 0;
    options.exclusive = atoi(argv[2]);
    if (weir_ring_create(argv[1], "one", &options) < 0 || weir_pub_open(argv[1], "one", NULL, &pub) < 0 ||
        weir_sub_open(argv[1], "one", NULL, &sub) < 0)
        return 1;
    for (int i = atoi(argv[3]); i > 0; i--)
        if (weir_pub_send(pub, body, sizeof body, 0, NULL) < 0 || weir_sub_next(sub, 0, &message) < 0)
            return 1;
    weir_sub_close(sub);
    weir_pub_close(pub);
    return weir_ring_remove(argv[1], "one", 1, 0);
}
C
"${CC:-cc}" -O2 -I"$source/include" -o "$work/one" "$work/one.c" -L"$build/lib" -Wl,-rpath,"$(realpath "$build")/lib" -lweir

# instructions KIND EXCLUSIVE: the difference of two runs leaves out what is done once.
count() {
  valgrind --tool=callgrind --callgrind-out-file="$work/out" --toggle-collect="$3" "$work/one" "$bus" "$1" "$2" 2>/dev/null
  sed -n 's/^totals: //p' "$work/out"
}
for exclusive in 1 0; do
  [ "$exclusive" = 1 ] && kind=exclusive || kind=shared
  for call in weir_pub_send weir_sub_next; do
    few=$(count "$exclusive" "$messages" "$call")
    many=$(count "$exclusive" $((2 * messages)) "$call")
    echo "$kind $call $(((many - few) / messages)) instructions"
  done
done
