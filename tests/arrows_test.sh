#!/bin/sh
# arrows_test.sh TOP              fails when a folder includes, links or spells what the arrows do not allow
# arrows_test.sh --self-test TOP  plants one breach after another in a copy and fails when one of them goes unnoticed
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
folders='include ringbuf shm group journal client daemon bench cli examples'

# Prints the breaches in the tree at $1.
breaches() (
  cd "$1" || exit 1
  # shellcheck disable=SC2086 # a list of words
  find $folders -type f \( -name '*.c' -o -name '*.h' -o -name CMakeLists.txt \) | sort | xargs awk -f "$here/arrows.awk"
)

check() {
  found=$(breaches "$1") || { echo "arrows.awk failed"; return 1; }
  [ -z "$found" ] && return 0
  echo "$found"
  return 1
}

# plant FILE LINE EXPECTED: with that line added to the file, EXPECTED must be reported of that file.
plant() {
  planted=$((planted + 1))
  mkdir -p "$copy/$(dirname "$1")"
  [ ! -e "$copy/$1" ] || cp "$copy/$1" "$copy/.saved"
  printf '%b\n' "$2" >>"$copy/$1"
  breaches "$copy" | grep -F "$1:" | grep -qF "$3" || {
    echo "FAILED: unnoticed in $1: $2"
    failed=1
  }
  rm "$copy/$1"
  [ ! -e "$copy/.saved" ] || mv "$copy/.saved" "$copy/$1"
}

# allow FILE LINE: this is no breach.
allow() {
  printf '%b\n' "$2" >"$copy/$1"
  if breaches "$copy" | grep -F "$1:"; then
    echo "FAILED: reported, but allowed: $2"
    failed=1
  fi
  rm "$copy/$1"
}

self_test() {
  copy=$(mktemp -d) || exit 1
  trap 'rm -rf "$copy"' EXIT
  failed=0 planted=0
  for folder in $folders; do
    mkdir -p "$copy/$folder"
    (cd "$1" && find "$folder" -type f \( -name '*.[ch]' -o -name CMakeLists.txt \)) | while read -r file; do
      cp "$1/$file" "$copy/$file"
    done
  done

  plant shm/planted.c '#include "ringbuf/layout.h"' 'shm/ may not include ringbuf/'
  plant shm/planted.c '  #  include <ringbuf/layout.h>' 'shm/ may not include ringbuf/'
  plant ringbuf/planted.h '#include "shm/shm.h"' 'ringbuf/ may not include shm/'
  plant ringbuf/planted.c '#include <unistd.h>' 'without the system'
  plant ringbuf/planted.c '#include <weir.h>' 'ringbuf/ may not include weir.h'
  plant group/planted.c '#include "shm/shm.h"' 'group/ may not include shm/'
  plant group/planted.c '#include <unistd.h>' 'without the system'
  plant ringbuf/planted.c '#include "group/group.h"' 'ringbuf/ may not include group/'
  plant group/CMakeLists.txt '  LINKS weir_shm' 'group/ may not link weir_shm'
  plant journal/planted.c '#include "shm/shm.h"' 'journal/ may not include shm/'
  plant journal/planted.c '#include "client/x.h"' 'journal/ may not include client/'
  plant client/planted.c '#include "daemon/x.h"' 'client/ may not include daemon/'
  plant daemon/planted.c '#include "client/x.h"' 'daemon/ may not include client/'
  plant cli/planted.c '#include "ringbuf/layout.h"' 'cli/ may not include ringbuf/'
  plant cli/planted.c '/* a comment */ #include "journal/journal.h" // and another' 'cli/ may not include journal/'
  plant bench/planted.c '#include "client/x.h"' 'bench/ may not include client/'
  plant examples/planted.c '#include "client/x.h"' 'examples/ may not include client/'
  plant include/weir.h '#include "ringbuf/layout.h"' 'include/ may not include ringbuf/'
  plant client/planted.c '#include "local.h"' 'from the top'
  plant client/planted.c '#include "../shm/shm.h"' 'from the top'
  plant client/planted.c '#include <urcu/urcu-memb.h>' 'only daemon/ may'
  plant shm/planted.c 'void f(void) { rcu_read_lock(); }' 'RCU outside daemon/'
  plant shm/planted.c '#include <numaif.h>' 'only daemon/ may'
  plant daemon/planted.c '#include <jansson.h>' 'only cli/ may'
  plant cli/planted.c '#include <ini.h>' 'only daemon/ may'
  plant daemon/planted.c '#include <numaif.h>' 'one file is to know libnuma'
  plant client/planted.c '#include <stdatomic.h>' 'memory order'
  plant shm/planted.c 'int f(int *p) { return __atomic_load_n(p, 0); }' 'memory order'
  plant daemon/planted.c 'void f(void) { __sync_synchronize(); }' 'memory order'
  plant cli/planted.c 'static int x = __ATOMIC_SEQ_CST;' 'memory order'
  plant cli/planted.c 'static volatile int stop;' 'volatile'
  plant journal/planted.c 'void f(void) { __asm__ __volatile__("" ::: "memory"); }' 'volatile'
  plant client/planted.c 'void f(void) { fprintf(stderr, "x"); }' 'neither logs'
  plant shm/planted.c 'void f(void) { exit(1); }' 'neither logs'
  plant shm/CMakeLists.txt 'weir_add_component(x LINKS weir_ringbuf)' 'shm/ may not link weir_ringbuf'
  plant ringbuf/CMakeLists.txt 'target_link_libraries(weir_ringbuf PUBLIC m)' 'links by hand'
  plant journal/CMakeLists.txt '  LINKS weir_shm_testing' 'journal/ may not link weir_shm'
  plant daemon/CMakeLists.txt '  LINKS weir_client' 'daemon/ may not link weir_client'
  plant cli/CMakeLists.txt '  LINKS weir_journal' 'cli/ may not link weir_journal'
  plant client/CMakeLists.txt 'pkg_check_modules(URCU liburcu-memb)' 'client/ may not look for liburcu-memb'
  plant cli/CMakeLists.txt 'pkg_check_modules(INIH inih)' 'cli/ may not look for inih'
  plant shm/CMakeLists.txt 'pkg_check_modules(NUMA numa)' 'shm/ may not look for numa'
  plant examples/CMakeLists.txt '  LINKS weir_static weir_shm' 'examples/ may not link weir_shm'

  allow client/planted.c '#include <weir.h>\n#include "ringbuf/layout.h"\n#include "shm/shm.h"\n#include "journal/layout.h"'
  allow client/planted.c '/* a volatile friend: "__atomic_load" \n #include "daemon/x.h" */\nstatic const char *s = "volatile // exit(";'
  allow daemon/planted.c 'static volatile sig_atomic_t stop; // volatile'
  allow bench/planted.c '#include "ringbuf/access.h"'
  allow shm/planted.c 'int f(char *b) { return snprintf(b, 4, "exit(%d)", 1); }'

  [ "$failed" -ne 0 ] || echo "$planted breaches planted, each noticed"
  return "$failed"
}

case ${1-} in
--self-test) self_test "$2" ;;
*) check "$1" && echo "every arrow holds" ;;
esac
