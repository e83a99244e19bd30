#!/bin/sh
# check.sh [--hand] [MODEL.pml...]: searches each model (default: all beside this script) with spin. What to search stands in the
# model, one search a line:
#   PAN: SPIN-OPTIONS | COMPILER-OPTIONS | RUN-OPTIONS                must be searched to the end without an error
#   PAN-FINDS: SPIN-OPTIONS | COMPILER-OPTIONS | RUN-OPTIONS | TEXT   must find the error that pan tells in a line with TEXT:
#                                                                     shows that the model can see one
#   HAND: as PAN, but takes long: searched only with --hand, and then nothing else is
# e.g. "PAN: -DMSGS=2 | -DSAFETY -DNOREDUCE | -E". A search cut short by depth or memory fails.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
command -v spin >/dev/null || { echo "check.sh: spin is not installed"; exit 77; }
kinds='PAN(-FINDS)?'
memory_mb=6000
if [ "${1-}" = --hand ]; then
  kinds=HAND
  memory_mb=16000
  shift
fi
[ $# -gt 0 ] || set -- "$here"/*.pml
[ -e "$1" ] || { echo "no models"; exit 0; }

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
failed=0

# search NAME FILE EXPECTED SPIN-OPTIONS COMPILER-OPTIONS RUN-OPTIONS TEXT
search() {
  rm -rf "$work/run"
  mkdir "$work/run" && cd "$work/run" || return 1
  started=$(date +%s)
  # A broken protocol is found out soon: then compiling is what takes long.
  optimise=-O2
  [ "$3" = holds ] || optimise=-O0
  # shellcheck disable=SC2086 # options are words
  if ! { spin $4 -a "$2" && "${CC:-cc}" "$optimise" -w -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=$memory_mb $5 -o pan pan.c; } >log 2>&1; then
    cat log
    echo "FAILED: $1 ($4): does not build"
    return 1
  fi
  # shellcheck disable=SC2086
  ./pan -m1000000 $6 >log 2>&1
  status=$?
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' log | head -n 1)
  if [ "$status" -ne 0 ] || ! grep -q 'errors: [0-9]' log; then
    result="ended with status $status"
  elif ! grep -q 'errors: 0' log; then
    result='finds an error'
    grep '^pan:1: ' log | grep -qF -e "$7" || result='finds another error'
  elif grep -qiE 'max search depth too small|search not completed|out of memory' log; then
    result='is cut short'
  else
    result='holds'
  fi
  if [ "$result" = "$3" ]; then
    echo "ok: $1 ($4) $result, ${states:-?} states, $(($(date +%s) - started)) s"
    return 0
  fi
  sed '/^unreached in/,$d' log
  # shellcheck disable=SC2086
  [ "$result" = holds ] || spin -t -k "$1.trail" -p -g $4 "$2" 2>/dev/null | tail -n 100
  echo "FAILED: $1 ($4) $result; expected: $3${7:+, $7}"
  return 1
}

# trimmed TEXT: without blanks at its ends
trimmed() {
  printf '%s' "$1" | sed 's/^ *//; s/ *$//'
}

for model in "$@"; do
  file=$(cd "$(dirname "$model")" && pwd)/$(basename "$model")
  name=$(basename "$model")
  if ! grep -E "^[ *]*$kinds:" "$file" >"$work/searches"; then
    [ "$kinds" = HAND ] || { echo "FAILED: $name has no PAN: line"; failed=1; }
    continue
  fi
  while IFS='|' read -r first compiler run text; do
    case $first in
    *PAN-FINDS:*)
      expected='finds an error'
      text=$(trimmed "$text")
      [ -n "$text" ] || { echo "FAILED: $name: which error? $first"; failed=1; continue; }
      ;;
    *)
      expected=holds
      text=
      ;;
    esac
    search "$name" "$file" "$expected" "$(trimmed "${first#*:}")" "$compiler" "$run" "$text" </dev/null || failed=1
  done <"$work/searches"
done
exit "$failed"
